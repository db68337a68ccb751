//! From what is wanted to what clients get as configuration.

use super::{BackendShape, Seconds, ServiceShape, check, place};
use crate::model::{Check, CheckOverride, Definition, Member, Policy, Wanted};

/// All services, by name.
pub(super) fn config(wanted: &Wanted) -> Vec<ServiceShape> {
    wanted.services.iter().map(|(name, present)| service(&Definition::of(name, present))).collect()
}

/// One service: a PUT of it changes nothing.
pub(super) fn service(definition: &Definition) -> ServiceShape {
    let options = definition.options;
    let first = definition.listen.first().copied();
    let backends = definition.instances.iter().map(|member| backend(member, definition.check.as_ref()));
    let mut shape = ServiceShape {
        name: Some(definition.name.to_string()),
        address: first.map(place::of_service),
        backends: Some(backends.collect()),
        balance: balance(options.policy).map(Into::into),
        client_timeout: Some(Seconds::default()),
        server_timeout: Some(Seconds::default()),
        network: first.map(|first| first.protocol.to_string()),
        listen: Some(definition.listen.iter().map(ToString::to_string).collect()),
        policy: Some(options.policy.to_string()),
        sticky_prefix: Some(options.sticky_prefix.to_string()),
        on_empty: Some(options.on_empty.to_string()),
        guard: Some(options.guard),
        hook: Some(options.hook.to_string()),
        allow_degraded: Some(options.allow_degraded),
        slow_start: Some(options.slow_start.map_or_else(Seconds::default, Seconds::from)),
        engine: Some(definition.engine.to_string()),
        description: definition.description.as_ref().map(ToString::to_string),
        ..ServiceShape::default()
    };
    check::shown(definition.check.as_ref(), &mut shape);
    shape
}

/// Shuttle's word for a policy, if it has one.
pub(super) fn balance(policy: Policy) -> Option<&'static str> {
    match policy {
        Policy::RoundRobin => Some("RR"),
        Policy::LeastConn => Some("LC"),
        Policy::Random | Policy::LeastBacklog | Policy::Sticky => None,
    }
}

fn backend(member: &Member, service: Option<&Check>) -> BackendShape {
    let Member { spec, admin, check, backup } = member;
    let held = CheckOverride::held(check.as_ref(), service);
    BackendShape {
        name: Some(spec.name.to_string()),
        check_address: Some(check::place_of(spec, held)),
        address: Some(place::of_backend((spec.address, spec.port))),
        weight: Some(spec.weight.get()),
        network: None,
        admin: admin.map(|admin| admin.to_string()),
        backup: Some(*backup),
        check: check.as_ref().and_then(|check| serde_json::to_value(check).ok()),
    }
}
