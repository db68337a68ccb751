//! Pictures of services, for tests.

use super::row::Id;
use crate::{
    model::{Admin, EngineKind, Health, OnEmpty, Policy},
    status::{InstanceStatus, ServiceStatus, Status},
};

/// `web`, or `web/8001`.
pub(super) fn id(words: &str) -> Id {
    let mut words = words.split('/').map(|word| word.parse().unwrap());
    Id { service: words.next().unwrap(), instance: words.next() }
}

/// A status of these services.
pub(in crate::cli) fn status(services: Vec<ServiceStatus>) -> Status {
    Status { schema: 1, engine_reason: None, services }
}

/// A status of one service whose instances were picked so often.
pub(super) fn picked(name: &str, instances: &[(&str, u64)]) -> Status {
    status(vec![service(name, instances)])
}

/// A service whose instances were picked so often.
pub(in crate::cli) fn service(name: &str, instances: &[(&str, u64)]) -> ServiceStatus {
    ServiceStatus {
        name: name.parse().unwrap(),
        engine: EngineKind::Ebpf,
        hook: Some("sk_lookup".into()),
        listen: vec!["80/tcp".parse().unwrap()],
        policy: Policy::Random,
        sticky_prefix: None,
        degraded: None,
        guard: false,
        on_empty: OnEmpty::Pass,
        picks: Some(instances.iter().map(|(_, picked)| picked).sum()),
        unserved: Some(0),
        instances: instances.iter().map(|(name, picked)| instance(name, *picked)).collect(),
    }
}

fn instance(name: &str, picked: u64) -> InstanceStatus {
    InstanceStatus {
        name: name.parse().unwrap(),
        address: None,
        port: 8001,
        weight: 1,
        admin: Admin::Ready,
        health: Health::Unknown,
        listening: Some(true),
        backup: false,
        throttle: None,
        share: 0.25,
        picked: Some(picked),
        failovers: Some(0),
        active: Some(0),
        connections: Some(picked),
        received_bytes: Some(0),
        sent_bytes: Some(0),
        accept_queue: Some(0),
        refused: None,
        picked_before: 0,
    }
}

/// A service with one of each kind of instance.
pub(super) fn web() -> ServiceStatus {
    let mut web = service("web", &[("a", 300), ("b", 100), ("c", 40)]);
    let [a, b, c] = &mut web.instances[..] else { panic!("three instances") };
    (a.share, a.health, a.active) = (0.75, Health::Up, Some(5));
    (b.backup, b.active, b.failovers, b.accept_queue) = (true, Some(2), Some(1), Some(3));
    (c.share, c.admin, c.health, c.listening) = (0.0, Admin::Drain, Health::Down, Some(false));
    (c.active, c.failovers, c.accept_queue) = (None, Some(3), None);
    web
}
