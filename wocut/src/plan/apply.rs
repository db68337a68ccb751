//! What files say becomes what is wanted, all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    ChangeError,
    change::{describe, free_index, join, new_instance},
    validate,
};
use crate::model::{
    CheckOverride, Definition, EngineChoice, EngineKind, Health, Instance, InstanceSpec, Member, Name,
    Options, Service, Wanted,
};

/// A service as a file wants it, on an engine that can carry it.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The service.
    pub definition: Definition,
    /// What carries it.
    pub engine: EngineKind,
    /// Why that is not eBPF, when that was tried.
    pub engine_reason: Option<String>,
}

impl From<Definition> for Assigned {
    /// On eBPF, unless the file says otherwise: for who asks before an engine is tried.
    fn from(definition: Definition) -> Self {
        let engine = match definition.engine {
            EngineChoice::Auto => EngineKind::Ebpf,
            EngineChoice::Only(engine) => engine,
        };
        Self { definition, engine, engine_reason: None }
    }
}

/// What is wrong with services beside each other, where nothing else is attached. Each has a name of its own.
pub fn problems(definitions: &[Definition]) -> Vec<(Name, ChangeError)> {
    let mut wanted = Wanted::empty(None);
    let mut found = Vec::new();
    for definition in definitions {
        let name = definition.name.clone();
        if let Err(error) = put(definition.clone().into(), &mut wanted) {
            found.push((name, error));
        }
    }
    found.extend(validate::problems(&wanted, &wanted.services.keys().cloned().collect()));
    found
}

/// Returns one line a service: what changed, or that it is as wanted.
pub(super) fn apply(
    services: Vec<Assigned>,
    prune: bool,
    wanted: &mut Wanted,
) -> Result<String, ChangeError> {
    let names: BTreeSet<Name> = services.iter().map(|service| service.definition.name.clone()).collect();
    let (staffed, others): (Vec<_>, Vec<_>) = wanted
        .services
        .iter()
        .filter(|(name, _)| !names.contains(*name))
        .partition(|(_, it)| it.is_of_processes());
    let [staffed, others] =
        [staffed, others].map(|all| all.into_iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    if prune {
        wanted.services.retain(|name, _| !others.contains(name));
    }
    let mut lines = Vec::new();
    let mut changed = BTreeSet::new();
    for service in services {
        let name = service.definition.name.clone();
        expect_same_processes(&service.definition, wanted)?;
        let said = put(service, wanted).map_err(|error| of(&name, error))?;
        lines.push(format!("{name}: {}", said.as_deref().unwrap_or("as wanted")));
        changed.extend(said.map(|_| name));
    }
    if let Some((name, error)) = validate::problems(wanted, &changed).into_iter().next() {
        return Err(of(&name, error));
    }
    let fate = if prune { "detached" } else { "left as it is: no file has it" };
    lines.extend(others.iter().map(|name| format!("{name}: {fate}")));
    lines.extend(
        staffed.iter().map(|name| format!("{name}: left as it is: its instances are started by wocut")),
    );
    Ok(if lines.is_empty() { "nothing is wanted and nothing is attached".into() } else { lines.join("\n") })
}

/// Instances that `run` and `cluster` start are theirs to bring and to take.
fn expect_same_processes(definition: &Definition, wanted: &Wanted) -> Result<(), ChangeError> {
    let name = &definition.name;
    let Some(old) = wanted.services.get(name).filter(|old| old.is_of_processes()) else { return Ok(()) };
    let (before, after): (BTreeSet<_>, BTreeSet<_>) =
        (specs(old).map(place).collect(), definition.instances.iter().map(|it| place(&it.spec)).collect());
    if before == after {
        return Ok(());
    }
    let what = format!("service `{name}` has instances that `wocut run` or `wocut cluster` started");
    Err(ChangeError::Conflict { what, forceable: false })
}

/// An error that names the service: of many, it is not known which one it is about.
fn of(name: &Name, error: ChangeError) -> ChangeError {
    match error {
        ChangeError::Usage(what) => ChangeError::Usage(format!("{name}: {what}")),
        ChangeError::Conflict { what, .. } => {
            ChangeError::Conflict { what: format!("{name}: {what}"), forceable: false }
        }
        other => other,
    }
}

/// What services are not as they were: a line each.
pub fn differences(before: &Wanted, after: &Wanted) -> Vec<String> {
    let gone = before.services.keys().filter(|name| !after.services.contains_key(*name));
    let gone = gone.map(|name| format!("{name}: detached"));
    let here = after.services.iter().filter_map(|(name, now)| match before.services.get(name) {
        None => Some(format!("{name}: attached {}, engine {}", describe(now), now.engine)),
        Some(was) => {
            let changes = changes(was, now);
            (!changes.is_empty()).then(|| format!("{name}: changed: {}", changes.join("; ")))
        }
    });
    gone.chain(here).collect()
}

/// Puts a service in, in the place of the one of its name. Returns what changed, if anything did.
pub(super) fn put(service: Assigned, wanted: &mut Wanted) -> Result<Option<String>, ChangeError> {
    let Assigned { definition, engine, engine_reason } = service;
    let Definition { name, listen, instances, options, engine: _, description, check } = definition;
    let Some(old) = wanted.services.get(&name).cloned() else {
        let index = free_index(wanted)?;
        let instances = members(wanted, Vec::new(), instances);
        let new = Service { index, engine, engine_reason, description, listen, options, check, instances };
        let line = format!("attached {}, engine {engine}", describe(&new));
        wanted.services.insert(name, new);
        return Ok(Some(line));
    };
    // On another engine all instances are new, and counted from nothing; they are as their operator wants them.
    let moves = old.engine != engine;
    let mut instances = members(wanted, old.instances.clone(), instances);
    if moves {
        for instance in &mut instances {
            let fresh = new_instance(wanted, instance.spec.clone());
            let Instance { admin, health, check, backup, throttle, process, worker, .. } = instance.clone();
            *instance = Instance { admin, health, check, backup, throttle, process, worker, ..fresh };
        }
    }
    let engine_reason = if moves { engine_reason } else { old.engine_reason.clone() };
    let index = old.index;
    let mut new = Service { index, engine, engine_reason, description, listen, options, check, instances };
    forget_unchecked(&mut new);
    let changes = changes(&old, &new);
    wanted.services.insert(name, new);
    Ok((!changes.is_empty()).then(|| format!("changed: {}", changes.join("; "))))
}

/// What nothing checks any more is not known to be down, and what does not start slowly any more has its whole weight.
fn forget_unchecked(service: &mut Service) {
    let checked: Vec<bool> =
        service.instances.iter().map(|instance| service.check_of(instance).is_some()).collect();
    for (instance, checked) in service.instances.iter_mut().zip(checked) {
        if !checked {
            instance.health = Health::Unknown;
        }
        if !checked || service.options.slow_start.is_none() {
            instance.throttle = None;
        }
    }
}

/// Instances that stay keep their ids, and with them their counters and open connections.
fn members(wanted: &mut Wanted, kept: Vec<Instance>, members: Vec<Member>) -> Vec<Instance> {
    let mut kept: BTreeMap<_, Instance> =
        kept.into_iter().map(|instance| (place(&instance.spec), instance)).collect();
    let instance = |Member { spec, admin, check, backup }| {
        let instance = match kept.remove(&place(&spec)) {
            Some(old) => Instance { spec, ..old },
            None => new_instance(wanted, spec),
        };
        Instance { admin: admin.unwrap_or(instance.admin), check, backup, ..instance }
    };
    members.into_iter().map(instance).collect()
}

/// What makes an instance the same one, whatever it is called.
fn place(spec: &InstanceSpec) -> (Option<std::net::IpAddr>, u16) {
    (spec.address, spec.port)
}

/// A phrase for each thing that is not as it was.
fn changes(old: &Service, new: &Service) -> Vec<String> {
    let mut said = Vec::new();
    if old.engine != new.engine {
        said.push(format!("engine is {}, was {}", new.engine, old.engine));
    }
    if old.listen != new.listen {
        said.push(format!("listens on {}, did on {}", join(&new.listen), join(&old.listen)));
    }
    said.extend(options(old.options, new.options));
    let there = |service: &Service| -> BTreeMap<_, Instance> {
        service.instances.iter().map(|instance| (place(&instance.spec), instance.clone())).collect()
    };
    let (before, after) = (there(old), there(new));
    let added: Vec<&InstanceSpec> = specs(new).filter(|spec| !before.contains_key(&place(spec))).collect();
    let removed: Vec<&InstanceSpec> = specs(old).filter(|spec| !after.contains_key(&place(spec))).collect();
    for (verb, specs) in [("added", &added), ("removed", &removed)] {
        if !specs.is_empty() {
            said.push(format!("{verb} {}", join(specs)));
        }
    }
    for now in &new.instances {
        let Some(was) = before.get(&place(&now.spec)) else { continue };
        let (name, weight) = (&now.spec.name, now.spec.weight);
        if was.spec.name != *name {
            said.push(format!("{name} was called {}", was.spec.name));
        }
        if was.spec.weight != weight {
            said.push(format!("{name} has weight {weight}, was {}", was.spec.weight));
        }
        if was.admin != now.admin {
            said.push(format!("{name} is {}, was {}", now.admin, was.admin));
        }
        if was.backup != now.backup {
            said.push(format!("{name} is {} backup", if now.backup { "a" } else { "no" }));
        }
        if was.check != now.check {
            said.push(match now.check {
                None => format!("{name} has its service's check"),
                Some(CheckOverride::Off) => format!("{name} has no check"),
                Some(CheckOverride::Own(_)) => format!("{name} has another check of its own"),
            });
        }
    }
    let stay = |service| -> Vec<_> {
        specs(service).map(place).filter(|it| before.contains_key(it) && after.contains_key(it)).collect()
    };
    if stay(old) != stay(new) {
        said.push("its instances are in another order".into());
    }
    if old.check != new.check {
        said.push(if new.check.is_some() { "has another check" } else { "has no check" }.into());
    }
    if old.description != new.description {
        said.push("has another description".into());
    }
    said
}

fn specs(service: &Service) -> impl Iterator<Item = &InstanceSpec> {
    service.instances.iter().map(|instance| &instance.spec)
}

/// The options by their keys, so that a new one cannot be forgotten here.
fn options(old: Options, new: Options) -> Vec<String> {
    let fields = |options| match serde_json::to_value(options) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
    let (before, after) = (fields(old), fields(new));
    let changed = after.iter().filter(|(key, now)| before.get(*key) != Some(*now));
    let phrase = |(key, now): (&String, &Value)| {
        format!("{key} is {}, was {}", word(now), before.get(key).map_or_else(String::new, word))
    };
    changed.map(phrase).collect()
}

#[cfg(test)]
mod tests {
    use super::{Assigned, problems};
    use crate::{
        model::{
            Admin, Check, CheckKind, CheckOverride, Definition, EngineChoice, EngineKind, Health,
            InstanceSpec, Options, Policy, Wanted,
        },
        plan::{Change, ChangeError},
    };

    fn definition(name: &str, listen: &str, instances: &str) -> Definition {
        let member = |text: &str| text.parse::<InstanceSpec>().unwrap().into();
        Definition {
            name: name.parse().unwrap(),
            listen: listen.split(' ').map(|l| l.parse().unwrap()).collect(),
            instances: instances.split(' ').map(member).collect(),
            options: Options::default(),
            engine: EngineChoice::Auto,
            description: None,
            check: None,
        }
    }

    fn apply(wanted: &mut Wanted, prune: bool, definitions: &[Definition]) -> Result<String, ChangeError> {
        let services = definitions.iter().cloned().map(Assigned::from).collect();
        Change::Apply { services, prune }.apply(wanted)
    }

    fn drain(wanted: &mut Wanted, service: &str, instance: &str) {
        let (service, instance) = (service.parse().unwrap(), instance.parse().unwrap());
        Change::Admin(service, instance, Admin::Drain).apply(wanted).unwrap();
    }

    fn ids(wanted: &Wanted, service: &str) -> Vec<u32> {
        wanted.services[service].instances.iter().map(|instance| instance.id).collect()
    }

    #[test]
    fn each_service_says_what_became_of_it() {
        let mut wanted = Wanted::empty(None);
        let (web, api, db) = (
            definition("web", "80/tcp", "8001 8002"),
            definition("api", "81/tcp", "8101"),
            definition("db", "82/tcp", "8201"),
        );
        apply(&mut wanted, false, &[api.clone(), db]).unwrap();
        let changed = Definition {
            options: Options { policy: Policy::RoundRobin, guard: true, ..Options::default() },
            ..definition("api", "83/tcp", "8102*2 8101*3")
        };
        assert_eq!(
            apply(&mut wanted, false, &[web.clone(), changed.clone()]).unwrap(),
            "web: attached 80/tcp to 8001 8002, engine ebpf\n\
             api: changed: listens on 83/tcp, did on 81/tcp; guard is true, was false; \
             policy is round-robin, was random; added 8102*2; 8101 has weight 3, was 1\n\
             db: left as it is: no file has it"
        );
        let before = wanted.clone();
        assert_eq!(
            apply(&mut wanted, false, &[web, changed]).unwrap(),
            "web: as wanted\napi: as wanted\ndb: left as it is: no file has it"
        );
        assert_eq!(wanted, before);
        assert_eq!(
            apply(&mut wanted, true, &[definition("web", "80/tcp", "www=8001")]).unwrap(),
            "web: changed: removed 8002; www was called 8001\napi: detached\ndb: detached"
        );
        assert_eq!(wanted.services.len(), 1);
    }

    #[test]
    fn instances_that_stay_keep_their_ids() {
        let mut wanted = Wanted::empty(None);
        apply(&mut wanted, false, &[definition("web", "80/tcp", "8001 8002")]).unwrap();
        let line = apply(&mut wanted, false, &[definition("web", "80/tcp", "8003 8002 8001")]).unwrap();
        assert_eq!(line, "web: changed: added 8003; its instances are in another order");
        assert_eq!(ids(&wanted, "web"), [3, 2, 1]);
    }

    #[test]
    fn operators_drain_stays_unless_the_file_names_a_state() {
        let mut wanted = Wanted::empty(None);
        let mut web = definition("web", "80/tcp", "8001 8002");
        apply(&mut wanted, false, std::slice::from_ref(&web)).unwrap();
        drain(&mut wanted, "web", "8001");
        assert_eq!(apply(&mut wanted, false, std::slice::from_ref(&web)).unwrap(), "web: as wanted");
        web.instances[0].admin = Some(Admin::Ready);
        let line = apply(&mut wanted, false, &[web]).unwrap();
        assert_eq!(line, "web: changed: 8001 is ready, was drain");
    }

    #[test]
    fn service_that_moves_engines_is_counted_from_nothing_and_stays_drained() {
        let mut wanted = Wanted::empty(None);
        let mut web = definition("web", "80/tcp", "8001 8002");
        apply(&mut wanted, false, std::slice::from_ref(&web)).unwrap();
        drain(&mut wanted, "web", "8002");
        web.engine = EngineChoice::Only(EngineKind::Iptables);
        let line = apply(&mut wanted, false, &[web]).unwrap();
        assert_eq!(line, "web: changed: engine is iptables, was ebpf");
        assert_eq!(ids(&wanted, "web"), [3, 4]);
        assert_eq!(wanted.services["web"].instances[1].admin, Admin::Drain);
        assert_eq!(wanted.next_instance, 5);
    }

    #[test]
    fn what_nothing_checks_any_more_is_not_held_to_be_down() {
        let mut wanted = Wanted::empty(None);
        let mut web = definition("web", "80/tcp", "8001 8002 8003");
        web.check = Some(Check::of(CheckKind::Tcp));
        apply(&mut wanted, false, std::slice::from_ref(&web)).unwrap();
        for instance in &mut wanted.services.get_mut("web").unwrap().instances {
            instance.health = Health::Down;
        }
        web.instances[0].check = Some(CheckOverride::Off);
        web.instances[1].check = Some(CheckOverride::Own(Check::of(CheckKind::Tcp).into()));
        let line = apply(&mut wanted, false, std::slice::from_ref(&web)).unwrap();
        assert_eq!(line, "web: changed: 8001 has no check; 8002 has another check of its own");
        let health = |wanted: &Wanted| -> Vec<Health> {
            wanted.services["web"].instances.iter().map(|instance| instance.health).collect()
        };
        assert_eq!(health(&wanted), [Health::Unknown, Health::Down, Health::Down]);
        (web.check, web.instances[0].check) = (None, None);
        let line = apply(&mut wanted, false, &[web]).unwrap();
        assert_eq!(line, "web: changed: 8001 has its service's check; has no check");
        assert_eq!(health(&wanted), [Health::Unknown, Health::Down, Health::Unknown]);
    }

    #[test]
    fn ports_may_change_hands_within_one_change() {
        let mut wanted = Wanted::empty(None);
        apply(&mut wanted, false, &[definition("a", "80/tcp", "8001"), definition("b", "81/tcp", "8002")])
            .unwrap();
        let swapped = [definition("a", "81/tcp", "8001"), definition("b", "80/tcp", "8002")];
        apply(&mut wanted, false, &swapped).unwrap();
        apply(&mut wanted, true, &[definition("c", "80/tcp", "8003")]).unwrap();
        assert_eq!(wanted.services.keys().map(ToString::to_string).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn conflict_names_the_service() {
        let mut wanted = Wanted::empty(None);
        apply(&mut wanted, false, &[definition("db", "80/tcp", "8001")]).unwrap();
        let error = apply(&mut wanted, false, &[definition("web", "80/tcp", "8002")]).unwrap_err();
        assert_eq!(error.to_string(), "web: service `db` listens on 80/tcp already");
        assert!(matches!(error, ChangeError::Conflict { forceable: false, .. }));
    }

    #[test]
    fn every_problem_is_found_once() {
        let found = problems(&[
            definition("a", "80/tcp", "8001 8001"),
            definition("b", "81/tcp", "81"),
            definition("c", "80/tcp", "8002"),
            definition("d", "83/tcp", "8003"),
        ]);
        let said: Vec<String> = found.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        assert_eq!(
            said,
            [
                "a: instance 8001 is there twice",
                "b: instance 81 is the service's own port 81/tcp",
                "c: service `a` listens on 80/tcp already",
            ]
        );
    }
}
