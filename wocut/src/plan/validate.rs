//! What a service must be, by itself and beside the others.

use std::collections::BTreeSet;

use wocut_common::{MAX_MEMBERS, MAX_SHARED, maps::MAX_INSTANCES};

use super::change::{ChangeError, usage};
use crate::model::{EngineKind, InstanceSpec, Listen, Name, Service, Wanted};

/// Checks the service of that name, which was just changed.
pub(super) fn validate(wanted: &Wanted, name: &Name) -> Result<(), ChangeError> {
    let found = problems(wanted, &BTreeSet::from([name.clone()])).into_iter().next();
    found.map_or(Ok(()), |(_, error)| Err(error))
}

/// What is wrong with the services of these names, which were just changed, and with which of them. Of two that are
/// in each other's way, the second one is named.
pub(super) fn problems(wanted: &Wanted, names: &BTreeSet<Name>) -> Vec<(Name, ChangeError)> {
    let mut found = Vec::new();
    for name in names {
        let Some(service) = wanted.services.get(name) else { continue };
        let seen = |other: &Name| other == name || names.contains(other) && other > name;
        let mut others = wanted.services.iter().filter(|(other, _)| !seen(other));
        let result =
            alone(service).and_then(|()| others.try_for_each(|(other, it)| beside(name, service, other, it)));
        found.extend(result.err().map(|error| (name.clone(), error)));
    }
    if let (Some(name), Err(error)) = (names.first(), together(wanted)) {
        found.push((name.clone(), error));
    }
    found
}

/// What all services share.
fn together(wanted: &Wanted) -> Result<(), ChangeError> {
    let all: usize = wanted.services.values().map(|service| service.instances.len()).sum();
    if all > MAX_INSTANCES {
        return usage(format!("{all} instances: all services together have at most {MAX_INSTANCES}"));
    }
    let mut on_ebpf = wanted.on(EngineKind::Ebpf).into_iter().flat_map(|(_, service)| &service.instances);
    match on_ebpf.find(|instance| sharing(wanted, &instance.spec) > MAX_SHARED) {
        Some(crowded) => {
            let what =
                format!("more than {MAX_SHARED} instances would share the listener of {}", crowded.spec);
            Err(ChangeError::Conflict { what, forceable: false })
        }
        None => Ok(()),
    }
}

/// How many instances one listener on every address would serve together with this one.
fn sharing(wanted: &Wanted, spec: &InstanceSpec) -> usize {
    let all = wanted.on(EngineKind::Ebpf).into_iter().flat_map(|(_, service)| &service.instances);
    let together =
        |a: &InstanceSpec| a.port == spec.port && (a.address.is_none() || a.address == spec.address);
    all.filter(|other| together(&other.spec)).count()
}

fn alone(service: &Service) -> Result<(), ChangeError> {
    let specs: Vec<&InstanceSpec> = service.instances.iter().map(|instance| &instance.spec).collect();
    if specs.len() > MAX_MEMBERS {
        return usage(format!("{} instances: a service has at most {MAX_MEMBERS}", specs.len()));
    }
    for (i, one) in service.listen.iter().enumerate() {
        if let Some(other) = service.listen[..i].iter().find(|other| one.collides(**other)) {
            return usage(format!("{one} is listened on twice: {other} is the same place"));
        }
    }
    if let Some(twice) = duplicate(&specs, |spec| (spec.address, spec.port)) {
        return usage(format!("instance {twice} is there twice"));
    }
    if let Some(twice) = duplicate(&specs, |spec| &spec.name) {
        let name = &twice.name;
        return usage(format!("two instances are named `{name}`: give them names, as in `a=127.0.0.2:8001`"));
    }
    match leads_to(service, service) {
        Some((spec, listen)) => usage(format!("instance {spec} is the service's own port {listen}")),
        None => Ok(()),
    }
}

fn beside(name: &Name, service: &Service, other_name: &Name, other: &Service) -> Result<(), ChangeError> {
    let conflict = |what: String| Err(ChangeError::Conflict { what, forceable: false });
    if let Some(listen) =
        other.listen.iter().find(|theirs| service.listen.iter().any(|mine| mine.collides(**theirs)))
    {
        return conflict(format!("service `{other_name}` listens on {listen} already"));
    }
    if let Some((spec, listen)) = leads_to(service, other) {
        return conflict(format!(
            "instance {spec} of `{name}` is the port {listen} of service `{other_name}`"
        ));
    }
    if let Some((spec, listen)) = leads_to(other, service) {
        return conflict(format!("{listen} is the port of instance {spec} of service `{other_name}`"));
    }
    Ok(())
}

/// An instance of one service on a port that another listens on, with a protocol of its own: a loop.
fn leads_to<'a>(from: &'a Service, to: &'a Service) -> Option<(&'a InstanceSpec, &'a Listen)> {
    let protocols: BTreeSet<_> = from.listen.iter().map(|listen| listen.protocol).collect();
    let listens = to.listen.iter().filter(|listen| protocols.contains(&listen.protocol));
    listens.into_iter().find_map(|listen| {
        let instance = from.instances.iter().find(|instance| instance.spec.port == listen.port)?;
        Some((&instance.spec, listen))
    })
}

fn duplicate<'a, K: Ord>(
    specs: &[&'a InstanceSpec],
    key: impl Fn(&'a InstanceSpec) -> K,
) -> Option<&'a InstanceSpec> {
    let mut seen = BTreeSet::new();
    specs.iter().copied().find(|spec| !seen.insert(key(spec)))
}
