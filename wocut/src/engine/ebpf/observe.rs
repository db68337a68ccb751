//! Reads what the programs counted.

use std::{
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
    model::{Instance, Name, Service},
    sys::listeners::{self, Listener},
};

pub(super) fn observe(
    maps: &Maps,
    pins: &Path,
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
    let mut observed = Vec::new();
    for (_, service) in services {
        let hook = hook::of(service, &rows);
        let own = maps.count(CounterKey { service: service.index, instance: 0 })?.unwrap_or_default();
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
                    refused(instance, &registered, &listeners)
                } else {
                    None
                },
            });
        }
        let (picks, unserved) = (Some(own.picked), Some(own.unserved));
        observed.push(ObservedService { hook: Some(hook), picks, unserved, instances });
    }
    Ok(observed)
}

/// Why an instance whose daemon listens is not registered.
fn refused(instance: &Instance, registered: &HashSet<u32>, listeners: &[Listener]) -> Option<String> {
    if registered.contains(&instance.id) {
        return None;
    }
    let listener = listeners.iter().find(|l| l.serves(instance.spec.address, instance.spec.port))?;
    Some(if listener.bound_to_device {
        BOUND_TO_DEVICE.into()
    } else {
        format!("it is not in the socket map: {KEPT_OUT}; another one is registered by any change")
    })
}
