//! Which hook picks for the TCP connections of each service: pure.

use std::collections::{BTreeMap, BTreeSet};

use wocut_common::{HOOK_SK_LOOKUP, HOOK_TC, PROTOCOL_TCP, Service, ServiceKey};

use crate::model::{self, HookChoice, Name, OnEmpty, Protocol};

/// By service index. `kept_out` has instances that listen, but that no socket map takes; `before` is what holds now: a
/// service that has moved to `tc` stays there while its daemons restart.
pub(super) fn choose(
    services: &[(&Name, &model::Service)],
    kept_out: &BTreeSet<u32>,
    before: &BTreeMap<ServiceKey, Service>,
) -> BTreeMap<u32, u32> {
    let hook = |service: &model::Service| match service.options.hook {
        HookChoice::SkLookup => HOOK_SK_LOOKUP,
        HookChoice::Tc => HOOK_TC,
        HookChoice::Auto => {
            let is_kept_out = || service.instances.iter().any(|instance| kept_out.contains(&instance.id));
            let was = || before.values().any(|row| row.index == service.index && row.hook == HOOK_TC);
            // A lookup can pass or refuse, not drop.
            let drops = service.options.on_empty == OnEmpty::Drop;
            if drops || is_kept_out() || was() { HOOK_TC } else { HOOK_SK_LOOKUP }
        }
    };
    services.iter().map(|(_, service)| (service.index, hook(service))).collect()
}

/// As `status` names them.
pub(super) const SK_LOOKUP: &str = "sk_lookup";
const TC: &str = "tc";

/// What picks for a service, as its rows say: for one with datagrams and connections, what picks for the latter.
pub(super) fn of(service: &model::Service, rows: &BTreeMap<ServiceKey, Service>) -> &'static str {
    let mut mine = rows.iter().filter(|(_, row)| row.index == service.index);
    let on_lookup = mine.any(|(key, row)| key.protocol == PROTOCOL_TCP && row.hook == HOOK_SK_LOOKUP);
    if on_lookup { SK_LOOKUP } else { TC }
}

/// Why connections of a service on `tc` may not come to its instances.
pub(super) const TAKEN_BACK: &str =
    "address translation on this host takes packets back from the listeners that the tc hook gives them to";

/// Whether packets are handed to listeners for the connections of this service.
pub(super) fn hands_over(service: &model::Service, hooks: &BTreeMap<u32, u32>) -> bool {
    let has_tcp = service.listen.iter().any(|listen| listen.protocol == Protocol::Tcp);
    has_tcp && hooks.get(&service.index) == Some(&HOOK_TC)
}

/// Whether packets have to be looked at: for a service on `tc`, and for datagrams.
pub(super) fn wants_tc(services: &[(&Name, &model::Service)], hooks: &BTreeMap<u32, u32>) -> bool {
    let has_udp = |service: &model::Service| service.listen.iter().any(|l| l.protocol == Protocol::Udp);
    hooks.values().any(|hook| *hook == HOOK_TC) || services.iter().any(|(_, service)| has_udp(service))
}
