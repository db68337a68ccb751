//! Wanted state and what the kernel says of it, as one picture: what `status` prints, in the layout that scripts use.
//!
//! Fields may be added, never renamed. What an engine cannot know is `null`.

use std::{borrow::Cow, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    engine::{ObservedInstance, ObservedService, iptables::Iptables},
    host::Host,
    model::{Admin, EngineKind, Health, Listen, Name, OnEmpty, Policy, Service, StickyPrefix, Wanted},
    plan::shares,
    sys::listeners::{self, Listener},
};

/// Everything that is attached in one network namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// 1.
    pub schema: u32,
    /// Why a service is not on eBPF, where that was tried.
    pub engine_reason: Option<String>,
    /// By name.
    pub services: Vec<ServiceStatus>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: Name,
    /// What carries it.
    pub engine: EngineKind,
    /// The eBPF hook that picks.
    pub hook: Option<Cow<'static, str>>,
    /// Where it takes connections.
    pub listen: Vec<Listen>,
    /// How a pick is made.
    pub policy: Policy,
    /// Which part of a client's address `sticky` looks at.
    pub sticky_prefix: Option<StickyPrefix>,
    /// What of the above its engine does not do, under `--allow-degraded`.
    pub degraded: Option<String>,
    /// Whether remote clients of instance ports are refused.
    pub guard: bool,
    /// When nobody can serve.
    pub on_empty: OnEmpty,
    /// Picks made.
    pub picks: Option<u64>,
    /// Picks that found no instance.
    pub unserved: Option<u64>,
    /// In the order in which they came.
    pub instances: Vec<InstanceStatus>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its name.
    pub name: Name,
    /// Where it is, if not anywhere.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Its relative share.
    pub weight: u16,
    /// What the operator wants of it.
    pub admin: Admin,
    /// What checks say of it.
    pub health: Health,
    /// Whether the kernel has a listener for it now.
    pub listening: Option<bool>,
    /// Whether it is for the time when no other one can take connections.
    pub backup: bool,
    /// The part of its weight that it has, in percent, while it starts slowly.
    pub throttle: Option<u8>,
    /// Part of the new connections that should go to it: 0 to 1.
    pub share: f64,
    /// Picks that chose it.
    pub picked: Option<u64>,
    /// Picks that passed it over because it could not take the connection.
    pub failovers: Option<u64>,
    /// Connections open now.
    pub active: Option<u64>,
    /// Connections since it was added.
    pub connections: Option<u64>,
    /// Bytes from clients, on connections that have ended.
    pub received_bytes: Option<u64>,
    /// Bytes to clients, on connections that have ended.
    pub sent_bytes: Option<u64>,
    /// Connections that wait to be accepted.
    pub accept_queue: Option<u32>,
    /// Why its daemon, which listens, gets no connections all the same.
    pub refused: Option<String>,
    /// Picks when the service's shares last changed.
    pub picked_before: u64,
}

impl Status {
    /// Of all services, or of one.
    pub fn read(host: &Host, only: Option<&Name>) -> anyhow::Result<Self> {
        let mut wanted = host.wanted()?;
        if let Some(name) = only {
            crate::host::service(&wanted, name)?;
            wanted.services.retain(|other, _| other == name);
        }
        let observed = host.observe(&wanted)?;
        let listeners = listeners::tcp().ok();
        Ok(Self::of(&wanted, observed, listeners.as_deref()))
    }

    pub(crate) fn of(
        wanted: &Wanted,
        observed: Vec<ObservedService>,
        listeners: Option<&[Listener]>,
    ) -> Self {
        let services = wanted.services.iter().zip(observed);
        Self {
            schema: 1,
            engine_reason: wanted.services.values().find_map(|service| service.engine_reason.clone()),
            services: services.map(|((name, service), seen)| one(name, service, seen, listeners)).collect(),
        }
    }
}

fn one(
    name: &Name,
    service: &Service,
    seen: ObservedService,
    listeners: Option<&[Listener]>,
) -> ServiceStatus {
    let slots = shares(&service.weights());
    let all = f64::from(slots.iter().sum::<u32>().max(1));
    let instances =
        service.instances.iter().zip(seen.instances).zip(slots).map(|((instance, seen), slots)| {
            let ObservedInstance {
                picked,
                failovers,
                active,
                connections,
                received_bytes,
                sent_bytes,
                refused,
            } = seen;
            let spec = &instance.spec;
            let tcp = service.listen.iter().all(|listen| listen.protocol == crate::model::Protocol::Tcp);
            let listener =
                listeners.filter(|_| tcp).map(|all| all.iter().find(|l| l.serves(spec.address, spec.port)));
            InstanceStatus {
                name: spec.name.clone(),
                address: spec.address,
                port: spec.port,
                weight: spec.weight.get(),
                admin: instance.admin,
                health: instance.health,
                backup: instance.backup,
                throttle: instance.throttle,
                listening: listener.map(|listener| listener.is_some()),
                share: f64::from(slots) / all,
                picked,
                failovers,
                active,
                connections,
                received_bytes,
                sent_bytes,
                accept_queue: listener.flatten().map(|listener| listener.accept_queue),
                refused,
                picked_before: instance.picked_before,
            }
        });
    ServiceStatus {
        name: name.clone(),
        engine: service.engine,
        hook: seen.hook.map(Cow::Borrowed),
        listen: service.listen.clone(),
        policy: service.options.policy,
        sticky_prefix: (service.options.policy == Policy::Sticky).then_some(service.options.sticky_prefix),
        degraded: (service.engine == EngineKind::Iptables).then(|| Iptables::falls_short(service)).flatten(),
        guard: service.options.guard,
        on_empty: service.options.on_empty,
        picks: seen.picks,
        unserved: seen.unserved,
        instances: instances.collect(),
    }
}
