//! Reads what the programs counted.

use std::collections::HashSet;

use wocut_common::{CounterKey, FAMILY_V4, FAMILY_V6, ListenerKey};

use super::{
    maps::Maps,
    register::{BOUND_TO_DEVICE, KEPT_OUT},
};
use crate::{
    engine::{ObservedInstance, ObservedService},
    model::{Instance, Name, Service},
    sys::listeners::{self, Listener},
};

pub(super) fn observe(maps: &Maps, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<ObservedService>> {
    let registered: HashSet<ListenerKey> = maps.listening()?.into_iter().collect();
    let listeners = listeners::tcp()?;
    let mut observed = Vec::new();
    for (_, service) in services {
        let own = maps.count(CounterKey { service: service.index, instance: 0 })?.unwrap_or_default();
        let mut instances = Vec::new();
        for instance in &service.instances {
            let key = CounterKey { service: service.index, instance: instance.id };
            let row = maps.count(key)?.unwrap_or_default();
            instances.push(ObservedInstance {
                picked: Some(row.picked),
                failovers: Some(row.failovers),
                active: Some(row.opened.saturating_sub(row.closed)),
                connections: Some(row.opened),
                received_bytes: Some(row.received_bytes),
                sent_bytes: Some(row.sent_bytes),
                refused: refused(instance, &registered, &listeners),
            });
        }
        observed.push(ObservedService { picks: Some(own.picked), unserved: Some(own.unserved), instances });
    }
    Ok(observed)
}

/// Why an instance whose daemon listens is not registered.
fn refused(instance: &Instance, registered: &HashSet<ListenerKey>, listeners: &[Listener]) -> Option<String> {
    let has = |family: u8| registered.contains(&ListenerKey { instance: instance.id, family: family.into() });
    if has(FAMILY_V4) || has(FAMILY_V6) {
        return None;
    }
    let listener = listeners.iter().find(|l| l.serves(instance.spec.address, instance.spec.port))?;
    Some(if listener.bound_to_device { BOUND_TO_DEVICE } else { KEPT_OUT }.into())
}
