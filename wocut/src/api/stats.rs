//! Live figures: shuttle's fields, and wocut's own beside them. What an engine cannot know is null.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Seconds, ServiceShape, check, place, render};
use crate::{
    daemon::Checked,
    model::{
        Admin, Description, EngineKind, Health, Instance, Listen, Name, OnEmpty, Policy, Service,
        StickyPrefix, Wanted,
    },
    status::{InstanceStatus, ServiceStatus, Status},
};

/// A service and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ServiceStats {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// What it is for, in the operator's words.
    #[schema(value_type = Option<String>)]
    pub description: Option<Description>,
    /// Where it takes connections: the first place.
    pub address: Option<String>,
    /// Who serves them.
    pub backends: Vec<BackendStats>,
    /// `RR`, `LC`, or null where `policy` is neither.
    #[schema(value_type = Option<String>)]
    pub balance: Option<&'static str>,
    /// From one check to the next; 0 without one.
    #[schema(value_type = f64)]
    pub check_interval: Option<Seconds>,
    /// So many bad answers in a row, and a backend is down.
    pub fall: Option<u8>,
    /// So many good ones, and it is up.
    pub rise: Option<u8>,
    /// 0.
    #[schema(value_type = f64)]
    pub client_timeout: Seconds,
    /// 0.
    #[schema(value_type = f64)]
    pub server_timeout: Seconds,
    /// How long a check may take; 0 without one.
    #[schema(value_type = f64)]
    pub connect_timeout: Option<Seconds>,
    /// Bytes to clients, on connections that have ended.
    pub sent: Option<u64>,
    /// Bytes from clients, on connections that have ended.
    pub received: Option<u64>,
    /// Picks that found no backend: `unserved`.
    pub errors: Option<u64>,
    /// Connections since the backends were added.
    pub connections: Option<u64>,
    /// Connections open now.
    pub active: Option<u64>,
    /// What carries it.
    #[schema(value_type = String)]
    pub engine: EngineKind,
    /// The eBPF hook that picks.
    #[schema(value_type = Option<String>)]
    pub hook: Option<Cow<'static, str>>,
    /// All places where it takes connections.
    #[schema(value_type = Vec<String>)]
    pub listen: Vec<Listen>,
    /// How a pick is made.
    #[schema(value_type = String)]
    pub policy: Policy,
    /// Which part of a client's address `sticky` looks at.
    #[schema(value_type = Option<String>)]
    pub sticky_prefix: Option<StickyPrefix>,
    /// What of the above its engine does not do.
    pub degraded: Option<String>,
    /// Whether remote clients of the backends' own ports are refused.
    pub guard: bool,
    /// When nobody can serve.
    #[schema(value_type = String)]
    pub on_empty: OnEmpty,
    /// Picks made.
    pub picks: Option<u64>,
    /// Picks that found no backend.
    pub unserved: Option<u64>,
}

/// A backend and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct BackendStats {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// Where it is.
    pub address: String,
    /// Where it is checked; empty without a check.
    pub check_address: String,
    /// Whether it can take new connections, if it comes to that: it is wanted to, is not down, and listens.
    pub up: bool,
    /// Its relative share.
    pub weight: u16,
    /// Bytes to clients, on connections that have ended.
    pub sent: Option<u64>,
    /// Bytes from clients, on connections that have ended.
    pub received: Option<u64>,
    /// Picks that passed it over because it could not take the connection: `failovers`.
    pub errors: Option<u64>,
    /// Connections since it was added.
    pub connections: Option<u64>,
    /// Connections open now.
    pub active: Option<u64>,
    /// Good checks since the daemon started.
    pub check_success: u64,
    /// Bad ones.
    pub check_fail: u64,
    /// Its port.
    pub port: u16,
    /// What the operator wants of it.
    #[schema(value_type = String)]
    pub admin: Admin,
    /// What checks say of it.
    #[schema(value_type = String)]
    pub health: Health,
    /// Whether it is for the time when no other one can take connections.
    pub backup: bool,
    /// The part of its weight that it has, in percent, while it starts slowly.
    pub throttle: Option<u8>,
    /// Whether the kernel has a listener for it now.
    pub listening: Option<bool>,
    /// Part of the new connections that should go to it: 0 to 1.
    pub share: f64,
    /// Picks that chose it.
    pub picked: Option<u64>,
    /// Those of them from before the service's shares last changed.
    pub picked_before: u64,
    /// Picks that passed it over.
    pub failovers: Option<u64>,
    /// Connections that wait to be accepted.
    pub accept_queue: Option<u32>,
    /// Why its daemon, which listens, gets no connections all the same.
    pub refused: Option<String>,
}

/// The figures of all services that are wanted still.
pub(super) fn of(wanted: &Wanted, status: Status, checked: impl Fn(u32) -> Checked) -> Vec<ServiceStats> {
    let services = status.services.into_iter();
    services
        .filter_map(|status| Some(service(wanted.services.get(&status.name)?, status, &checked)))
        .collect()
}

fn service(wanted: &Service, status: ServiceStatus, checked: &impl Fn(u32) -> Checked) -> ServiceStats {
    let ServiceStatus {
        name,
        engine,
        hook,
        listen,
        policy,
        sticky_prefix,
        degraded,
        guard,
        on_empty,
        picks,
        unserved,
        instances,
    } = status;
    let mut timed = ServiceShape::default();
    check::shown(wanted.check.as_ref(), &mut timed);
    // One that is unknown makes the sum unknown.
    let sum = |figure: fn(&InstanceStatus) -> Option<u64>| instances.iter().map(figure).sum::<Option<u64>>();
    let (sent, received) = (sum(|one| one.sent_bytes), sum(|one| one.received_bytes));
    let (connections, active) = (sum(|one| one.connections), sum(|one| one.active));
    let backends = instances.into_iter().map(|status| {
        let instance = wanted.instance(&status.name);
        let place = instance.map(|it| check::place_of(&it.spec, wanted.check_of(it))).unwrap_or_default();
        backend(instance, status, place, instance.map(|it| checked(it.id)).unwrap_or_default())
    });
    ServiceStats {
        name,
        description: wanted.description.clone(),
        address: listen.first().copied().map(place::of_service),
        backends: backends.collect(),
        balance: render::balance(policy),
        check_interval: timed.check_interval,
        fall: timed.fall,
        rise: timed.rise,
        client_timeout: Seconds::default(),
        server_timeout: Seconds::default(),
        connect_timeout: timed.connect_timeout,
        sent,
        received,
        errors: unserved,
        connections,
        active,
        engine,
        hook,
        listen,
        policy,
        sticky_prefix,
        degraded,
        guard,
        on_empty,
        picks,
        unserved,
    }
}

fn backend(
    instance: Option<&Instance>,
    status: InstanceStatus,
    check_address: String,
    checked: Checked,
) -> BackendStats {
    let InstanceStatus {
        name,
        address,
        port,
        weight,
        admin,
        health,
        backup,
        throttle,
        listening,
        share,
        picked,
        failovers,
        active,
        connections,
        received_bytes,
        sent_bytes,
        accept_queue,
        refused,
        picked_before,
    } = status;
    let address = place::of_backend((address, port));
    BackendStats {
        name,
        check_address,
        address,
        up: instance.is_some_and(Instance::is_eligible) && listening != Some(false),
        weight,
        sent: sent_bytes,
        received: received_bytes,
        errors: failovers,
        connections,
        active,
        check_success: checked.good,
        check_fail: checked.bad,
        port,
        admin,
        health,
        backup,
        throttle,
        listening,
        share,
        picked,
        picked_before,
        failovers,
        accept_queue,
        refused,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::of;
    use crate::{
        api::{fixture::wanted, still},
        daemon::Checked,
    };

    #[test]
    fn what_an_engine_cannot_know_is_null() {
        let wanted = wanted();
        let status = still::status(&wanted, None).unwrap();
        let stats = serde_json::to_value(of(&wanted, status, |_| Checked { good: 5, bad: 1 })).unwrap();
        let web = &stats[0];
        for (field, value) in [
            ("name", json!("web")),
            ("address", json!("0.0.0.0:80")),
            ("balance", json!("RR")),
            ("sent", json!(1200)),
            ("received", Value::Null),
            ("errors", json!(7)),
            ("active", json!(6)),
            ("check_interval", json!(0)),
        ] {
            assert_eq!(web[field], value, "{field}");
        }
        let b = &web["backends"][1];
        for (field, value) in [
            ("name", json!("b")),
            ("address", json!(":8002")),
            ("weight", json!(3)),
            ("up", json!(false)),
            ("listening", json!(false)),
            ("check_success", json!(5)),
            ("check_fail", json!(1)),
            ("errors", json!(2)),
        ] {
            assert_eq!(b[field], value, "{field}");
        }
    }
}
