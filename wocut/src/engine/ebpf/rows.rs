//! What the maps must hold for the wanted services: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
};

use wocut_common::{
    CounterKey, FAMILY_ANY, FAMILY_V4, FAMILY_V6, HOOK_SK_LOOKUP, Instance, InstanceIds, MAX_MEMBERS,
    MAX_SHARED, ON_EMPTY_DROP, ON_EMPTY_PASS, ON_EMPTY_REJECT, POLICY_LEAST_BACKLOG, POLICY_LEAST_CONN,
    POLICY_RANDOM, POLICY_ROUND_ROBIN, POLICY_STICKY, PROTOCOL_TCP, PROTOCOL_UDP, PortKey, SLOTS, Service,
    ServiceKey, Table, pick,
};

use crate::{
    model::{self, Admin, Health, Listen, Name, OnEmpty, Policy, Protocol},
    plan::{Member, fill, turns},
};

/// Rows by map. Slot tables are apart, in [`table`]: they are large, and most are right already.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) services: BTreeMap<ServiceKey, Service>,
    pub(super) instances: BTreeMap<u32, Instance>,
    pub(super) ports: BTreeMap<PortKey, InstanceIds>,
    pub(super) counters: BTreeSet<CounterKey>,
}

impl Rows {
    /// `hooks` has what picks for TCP, by service index.
    pub(super) fn of(services: &[(&Name, &model::Service)], hooks: &BTreeMap<u32, u32>) -> Self {
        let mut rows = Self::default();
        let mut by_port: BTreeMap<u16, Vec<(u32, Option<IpAddr>)>> = BTreeMap::new();
        for (_, service) in services {
            for listen in &service.listen {
                for address in listen.addresses() {
                    let (family, address) = family_and_bytes(Some(address));
                    let protocol = number(listen.protocol);
                    let key = ServiceKey { address, port: listen.port, family, protocol };
                    let hook = hooks.get(&service.index).copied().unwrap_or(HOOK_SK_LOOKUP);
                    rows.services.insert(key, Service { index: service.index, hook, by_address: 0 });
                }
            }
            if service.options.guard {
                rows.guard(service);
            }
            for instance in &service.instances {
                rows.instances.insert(instance.id, record(service.index, instance));
                rows.counters.insert(CounterKey { service: service.index, instance: instance.id });
                let spec = &instance.spec;
                by_port.entry(spec.port).or_default().push((instance.id, spec.address));
            }
        }
        rows.note_addresses();
        for (port, instances) in by_port {
            rows.listen_at(port, &instances);
        }
        rows
    }

    /// Tells the rows for every address of those for single ones.
    fn note_addresses(&mut self) {
        let anywhere = |key: &ServiceKey| ServiceKey { address: [0; 16], ..*key };
        let single: Vec<ServiceKey> =
            self.services.keys().filter(|key| key.address != [0; 16]).map(anywhere).collect();
        for key in single {
            if let Some(row) = self.services.get_mut(&key) {
                row.by_address = 1;
            }
        }
    }

    /// Lists the ports of the instances as guarded.
    fn guard(&mut self, service: &model::Service) {
        let protocols: BTreeSet<Protocol> = service.listen.iter().map(|listen| listen.protocol).collect();
        for (instance, protocol) in
            service.instances.iter().flat_map(|i| protocols.iter().map(move |p| (i, p)))
        {
            let spec = &instance.spec;
            let place = Listen { address: spec.address, port: spec.port, protocol: *protocol };
            for address in place.addresses() {
                let (family, address) = family_and_bytes(Some(address));
                let key = ServiceKey { address, port: spec.port, family, protocol: number(*protocol) };
                let guard = Service { index: Service::GUARD, hook: HOOK_SK_LOOKUP, by_address: 0 };
                self.services.insert(key, guard);
            }
        }
    }

    /// Which of the instances on a port each kind of listener there serves. See [`crate::sys::listeners`], which
    /// asks the same of a listener that is there already.
    fn listen_at(&mut self, port: u16, instances: &[(u32, Option<IpAddr>)]) {
        let mut put = |key: PortKey, serves: &dyn Fn(Option<IpAddr>) -> bool| {
            let mut ids = InstanceIds::default();
            let served = instances.iter().filter(|(_, address)| serves(*address));
            for (place, (id, _)) in ids.iter_mut().zip(served.take(MAX_SHARED)) {
                *place = *id;
            }
            if ids != InstanceIds::default() {
                self.ports.insert(key, ids);
            }
        };
        put(PortKey::other_address(port), &|address| address.is_none());
        put(PortKey::any_address(port, FAMILY_V4), &|address| address.is_none_or(|a| a.is_ipv4()));
        // A listener on every IPv6 address is mostly dual-stack, and serves IPv4 as well.
        put(PortKey::any_address(port, FAMILY_V6), &|_| true);
        for (_, named) in instances {
            if named.is_some() {
                let (family, address) = family_and_bytes(*named);
                put(PortKey { address, port, family, reserved: 0 }, &|a| a.is_none() || a == *named);
            }
        }
    }
}

/// As the kernel numbers it.
pub(super) fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => PROTOCOL_TCP,
        Protocol::Udp => PROTOCOL_UDP,
    }
}

fn record(service: u32, instance: &model::Instance) -> Instance {
    let spec = &instance.spec;
    let (family, address) = family_and_bytes(spec.address);
    let state = match instance.admin {
        Admin::Ready => 0,
        Admin::Drain => 1,
        Admin::Maint => 2,
    };
    let health = match instance.health {
        Health::Unknown => 0,
        Health::Up => 1,
        Health::Down => 2,
    };
    Instance {
        address,
        port: spec.port,
        family,
        state,
        health,
        reserved: 0,
        weight: spec.weight.get(),
        service,
    }
}

/// As the kernel half writes it.
pub(super) fn family_and_bytes(address: Option<IpAddr>) -> (u8, [u8; 16]) {
    match address {
        None => (FAMILY_ANY, [0; 16]),
        Some(IpAddr::V6(v6)) => (FAMILY_V6, v6.octets()),
        Some(IpAddr::V4(v4)) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            (FAMILY_V4, bytes)
        }
    }
}

/// Tells slot tables apart without reading them.
pub(super) fn fingerprint(service: &model::Service) -> u64 {
    let mut hasher = DefaultHasher::new();
    service.options.hash(&mut hasher);
    for (instance, weight) in service.takers() {
        (instance.id, instance.spec.address, instance.spec.port, weight).hash(&mut hasher);
    }
    hasher.finish()
}

/// The slot table of a service.
#[expect(clippy::large_stack_arrays, reason = "128 KiB, once, and then it is in a box")]
pub(super) fn table(service: &model::Service) -> Box<Table> {
    let options = &service.options;
    let mut takers: Vec<(&model::Instance, u16)> = service.takers().take(MAX_MEMBERS).collect();
    if options.policy == Policy::Sticky {
        // The same set has the same slots, in whatever order it came together.
        takers.sort_by_key(|(instance, _)| identity(instance));
    }
    let members: Vec<Member> =
        takers.iter().map(|&(instance, weight)| Member { identity: identity(instance), weight }).collect();
    let len = u32::try_from(members.len()).unwrap_or(0);
    let mut table = Box::new(Table {
        len,
        mask: len.next_power_of_two() - 1,
        policy: match options.policy {
            Policy::Random => POLICY_RANDOM,
            Policy::RoundRobin => POLICY_ROUND_ROBIN,
            Policy::LeastConn => POLICY_LEAST_CONN,
            Policy::LeastBacklog => POLICY_LEAST_BACKLOG,
            Policy::Sticky => POLICY_STICKY,
        },
        prefix_v4: mask(options.sticky_prefix.v4, 32)[0],
        prefix_v6: mask(options.sticky_prefix.v6, 128),
        turns: 1,
        on_empty: match options.on_empty {
            OnEmpty::Pass => ON_EMPTY_PASS,
            OnEmpty::Reject => ON_EMPTY_REJECT,
            OnEmpty::Drop => ON_EMPTY_DROP,
        },
        members: [0; MAX_MEMBERS],
        weights: [0; MAX_MEMBERS],
        slots: [0; SLOTS],
    });
    for (n, &(instance, weight)) in takers.iter().enumerate() {
        table.members[n] = instance.id;
        table.weights[n] = weight;
    }
    let slots = if options.policy == Policy::RoundRobin {
        let turns = turns(&table.weights[..takers.len()]);
        table.turns = u32::try_from(turns.len()).unwrap_or(1).max(1);
        // What comes after the last whole round is for picks by hash, which must find a member everywhere.
        turns.iter().copied().cycle().take(SLOTS).collect()
    } else {
        fill(&members)
    };
    for (place, member) in table.slots.iter_mut().zip(slots) {
        *place = member;
    }
    table
}

/// The first `bits` of an address of `width` bits, as the programs hold addresses: words in network order.
fn mask(bits: u8, width: u8) -> [u32; 4] {
    let ones = u128::MAX.checked_shl(128 - u32::from(bits.min(width))).unwrap_or(0);
    let bytes = ones.to_be_bytes();
    std::array::from_fn(|n| {
        u32::from_ne_bytes([bytes[4 * n], bytes[4 * n + 1], bytes[4 * n + 2], bytes[4 * n + 3]])
    })
}

/// The same place prefers the same slots on every host and after every restart, and so does the same number of a worker,
/// whose place is another one each time.
fn identity(instance: &model::Instance) -> u64 {
    if let Some(worker) = instance.worker {
        return pick::hash([0; 2], &[worker.into()]);
    }
    let (family, address) = family_and_bytes(instance.spec.address);
    let [high, low] =
        [0, 8].map(|at| address[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    let place = u64::from(family) << 16 | u64::from(instance.spec.port);
    pick::hash([0; 2], &[high, low, place])
}
