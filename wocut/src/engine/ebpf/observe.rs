//! Reads what the programs counted.

use std::{
    cell::LazyCell,
    collections::{HashMap, HashSet},
    path::Path,
};

use wocut_common::CounterKey;

use super::{
    flows::Flows,
    hook,
    maps::{Maps, rows},
    register::{BOUND_TO_DEVICE, KEPT_OUT},
};
use crate::{
    engine::{ObservedInstance, ObservedService},
    model::{Instance, Name, Protocol, Service},
    sys::{
        elsewhere::{self, Elsewhere},
        listeners::{self, Listener},
        netns::Netns,
        rtnetlink::has_nat,
    },
};

pub(super) fn observe(
    maps: &Maps,
    pins: &Path,
    netns: &Netns,
    services: &[(&Name, &Service)],
) -> anyhow::Result<Vec<ObservedService>> {
    let registered: HashSet<u32> = maps.listening()?.iter().map(|key| key.instance).collect();
    let listeners = listeners::tcp()?;
    let rows = rows(&maps.services)?;
    let flows = Flows::open(pins)?.as_ref().map(Flows::alive).transpose()?.unwrap_or_default();
    let mut active: HashMap<(u32, u32), u64> = HashMap::new();
    for flow in flows {
        *active.entry((flow.service, flow.instance)).or_default() += 1;
    }
    let foreign = LazyCell::new(|| elsewhere::listeners(netns.inode));
    let mut observed = Vec::new();
    for (_, service) in services {
        let hook = hook::of(service, &rows);
        let has_tcp = service.listen.iter().any(|listen| listen.protocol == Protocol::Tcp);
        let translated = has_tcp && hook != hook::SK_LOOKUP && has_nat();
        let own = maps.picks(service.index)?;
        let mut instances = Vec::new();
        for instance in &service.instances {
            let key = CounterKey { service: service.index, instance: instance.id };
            let row = maps.count(key)?.unwrap_or_default();
            let flows = active.get(&(service.index, instance.id)).copied().unwrap_or_default();
            instances.push(ObservedInstance {
                picked: Some(row.picked),
                failovers: Some(row.failovers),
                active: Some(maps.open_connections(instance.id)? + flows),
                connections: Some(row.opened),
                received_bytes: Some(row.received_bytes),
                sent_bytes: Some(row.sent_bytes),
                refused: if hook == hook::SK_LOOKUP {
                    refused(instance, &registered, &listeners, &foreign)
                } else {
                    (has_tcp && translated).then(|| hook::TAKEN_BACK.into())
                },
            });
        }
        let (picks, unserved) = (Some(own.made), Some(own.unserved));
        observed.push(ObservedService { hook: Some(hook), picks, unserved, instances });
    }
    Ok(observed)
}

/// Why an instance whose daemon listens is not registered.
fn refused(
    instance: &Instance,
    registered: &HashSet<u32>,
    listeners: &[Listener],
    foreign: &LazyCell<Vec<Elsewhere>, impl FnOnce() -> Vec<Elsewhere>>,
) -> Option<String> {
    if registered.contains(&instance.id) {
        return None;
    }
    let Some(listener) = listeners.iter().find(|l| l.serves(instance.spec.address, instance.spec.port))
    else {
        let elsewhere = foreign.iter().find(|elsewhere| elsewhere.port == instance.spec.port)?;
        return Some(format!("nobody listens here, but {elsewhere}"));
    };
    Some(if listener.bound_to_device {
        BOUND_TO_DEVICE.into()
    } else {
        format!(
            "it is not in the socket map: {KEPT_OUT}, and any change of the service sees to it, but not under `--hook sk_lookup`"
        )
    })
}
