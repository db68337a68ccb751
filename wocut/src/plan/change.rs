//! One command's change of the wanted state.

use std::collections::BTreeSet;

use wocut_common::{
    Load,
    maps::{MAX_INSTANCES, MAX_SERVICES},
};

use super::{
    apply,
    apply::Assigned,
    processes::{self, Entry},
    validate::validate,
};
use crate::model::{
    Admin, Claim, EngineKind, Health, Instance, InstanceSpec, Listen, Name, Options, ProcessId, Service,
    Wanted, Weight,
};

/// What a command wants changed.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new service.
    Attach {
        /// Its name.
        name: Name,
        /// Where it takes connections.
        listen: Vec<Listen>,
        /// Who serves them.
        instances: Vec<InstanceSpec>,
        /// How it works.
        options: Options,
        /// What carries it.
        engine: EngineKind,
        /// Why that is not eBPF, when that was tried.
        engine_reason: Option<String>,
        /// Take the place of a different service of that name.
        force: bool,
    },
    /// Services become what files say, all of them or none.
    Apply {
        /// Each with a name of its own.
        services: Vec<Assigned>,
        /// Whether services go that are none of these.
        prune: bool,
    },
    /// A service goes.
    Detach(Name),
    /// All services go.
    DetachAll,
    /// Instances come.
    Add(Name, Vec<InstanceSpec>),
    /// Instances go.
    Remove(Name, Vec<Name>),
    /// An instance's share changes.
    Weight(Name, Name, Weight),
    /// What the operator wants of an instance changes.
    Admin(Name, Name, Admin),
    /// What checks say of instances. Those that are gone meanwhile are passed over.
    Health(Vec<(Name, Name, Health)>),
    /// How much of their weight instances have that start slowly, in percent; `None` is all. Others are passed over.
    Throttle(Vec<(Name, Name, Option<u8>)>),
    /// Of services, instances that are ready are so no more. What is out of use for another reason stays so.
    Drain(Vec<(Name, Vec<Name>)>),
    /// A process is to be started on a port, or was.
    Claim(u16, Claim),
    /// It was not, by whoever claimed the port.
    Unclaim(u16, ProcessId),
    /// Processes come.
    Enter(Box<Entry>),
    /// Processes of a service get no new connections.
    Retire(Name, Vec<ProcessId>),
    /// Processes of a service have ended.
    Exit(Name, Vec<ProcessId>),
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The request makes no sense by itself.
    #[error("{0}")]
    Usage(String),
    /// There is no such service.
    #[error("no service `{0}`")]
    NoService(Name),
    /// There is no such instance.
    #[error("service `{0}` has no instance `{1}`")]
    NoInstance(Name, Name),
    /// Something else is in the way.
    #[error("{what}")]
    Conflict {
        /// What is in the way of what.
        what: String,
        /// Whether `--force` overrides it.
        forceable: bool,
    },
}

pub(super) fn usage<T>(what: impl Into<String>) -> Result<T, ChangeError> {
    Err(ChangeError::Usage(what.into()))
}

/// The part of its weight, in percent, that an instance has at first if its service has it start slowly.
pub const FIRST_PART: u8 = 10;

impl Change {
    /// Makes the change. Returns one line that says what changed, or that nothing did; one a service for files.
    pub fn apply(self, wanted: &mut Wanted) -> Result<String, ChangeError> {
        match self {
            Self::Attach { .. } => self.attach(wanted),
            Self::Apply { services, prune } => apply::apply(services, prune, wanted),
            Self::Detach(name) => {
                processes::expect_none(wanted, &name)?;
                match wanted.services.remove(&name) {
                    Some(_) => Ok(format!("detached {name}")),
                    None => Err(ChangeError::NoService(name)),
                }
            }
            Self::DetachAll => {
                let names = join(wanted.services.keys());
                wanted.services.clear();
                Ok(if names.is_empty() { "nothing is attached".into() } else { format!("detached {names}") })
            }
            Self::Add(name, specs) => add(wanted, &name, specs),
            Self::Remove(name, instances) => {
                processes::expect_none(wanted, &name)?;
                remove(wanted, &name, &instances)
            }
            Self::Weight(service, instance, weight) => {
                let (old, line) = {
                    let found = find(wanted, &service, &instance)?;
                    let old = std::mem::replace(&mut found.spec.weight, weight);
                    (old, format!("{service}/{instance} has weight {weight}"))
                };
                Ok(if old == weight { format!("{line} already") } else { format!("{line}, was {old}") })
            }
            Self::Admin(service, instance, admin) => {
                let found = find(wanted, &service, &instance)?;
                let old = std::mem::replace(&mut found.admin, admin);
                let line = format!("{service}/{instance} is {admin}");
                Ok(if old == admin { format!("{line} already") } else { format!("{line}, was {old}") })
            }
            Self::Health(found) => Ok(health(wanted, &found)),
            Self::Throttle(found) => Ok(throttle(wanted, &found)),
            Self::Drain(services) => drain(wanted, &services),
            Self::Claim(port, claim) => {
                wanted.claims.insert(port, claim);
                Ok(format!("claimed port {port}"))
            }
            Self::Unclaim(port, by) => {
                wanted.claims.retain(|claimed, claim| *claimed != port || claim.by != by);
                Ok(format!("gave port {port} back"))
            }
            Self::Enter(entry) => processes::enter(*entry, wanted),
            Self::Retire(name, leaving) => Ok(processes::retire(&name, &leaving, wanted)),
            Self::Exit(name, gone) => Ok(processes::exit(&name, &gone, wanted)),
        }
    }

    fn attach(self, wanted: &mut Wanted) -> Result<String, ChangeError> {
        let Self::Attach { name, listen, instances, options, engine, engine_reason, force } = self else {
            return usage("not an attach");
        };
        if listen.is_empty() || instances.is_empty() {
            return usage(
                "a service wants at least one LISTEN and one INSTANCE, as in `80/tcp to 8001 8002`",
            );
        }
        let old = wanted.services.get(&name);
        // What the command line has no words for stays.
        let slow_start = old.and_then(|old| old.options.slow_start);
        let options = Options { slow_start, ..options };
        if let Some(old) = old {
            let same = old.listen == listen
                && old.instances.iter().map(|instance| &instance.spec).eq(&instances)
                && old.options == options
                && old.engine == engine;
            if same {
                return Ok(format!("{name} is attached already: {}", describe(old)));
            }
            if !force {
                return Err(ChangeError::Conflict {
                    what: format!("service `{name}` is attached already, as {}", describe(old)),
                    forceable: true,
                });
            }
        }
        let index = match old {
            Some(old) => old.index,
            None => free_index(wanted)?,
        };
        let (description, check) =
            old.map_or((None, None), |old| (old.description.clone(), old.check.clone()));
        // Instances that stay keep their ids, and with them their counters and open connections.
        let (stays, mut kept) = match wanted.services.get(&name).cloned() {
            Some(old) => (old.engine == engine, old.instances),
            None => (true, Vec::new()),
        };
        let instances: Vec<Instance> = instances
            .into_iter()
            .map(|spec| {
                let same = |old: &Instance| old.spec.port == spec.port && old.spec.address == spec.address;
                match kept.iter().position(same) {
                    Some(i) if stays => Instance { spec, ..kept.swap_remove(i) },
                    // On another engine they are new, and counted from nothing.
                    Some(i) => {
                        let Instance { check, backup, .. } = kept.swap_remove(i);
                        Instance { check, backup, ..new_instance(wanted, spec) }
                    }
                    None => new_instance(wanted, spec),
                }
            })
            .collect();
        let service =
            Service { index, engine, engine_reason, description, listen, options, check, instances };
        let line = format!("attached {name}: {}, engine {engine}", describe(&service));
        wanted.services.insert(name.clone(), service);
        validate(wanted, &name)?;
        Ok(line)
    }
}

fn add(wanted: &mut Wanted, name: &Name, specs: Vec<InstanceSpec>) -> Result<String, ChangeError> {
    let service = wanted.services.get(name).ok_or_else(|| ChangeError::NoService(name.clone()))?;
    let mut fresh = Vec::new();
    for spec in specs {
        match service.instance(&spec.name) {
            Some(old) if old.spec == spec => {}
            Some(old) => {
                return Err(ChangeError::Conflict {
                    what: format!(
                        "service `{name}` has an instance `{}` already, as {}: `wocut weight` changes its share",
                        spec.name, old.spec
                    ),
                    forceable: false,
                });
            }
            None => fresh.push(spec),
        }
    }
    if fresh.is_empty() {
        return Ok(format!("{name} has them already"));
    }
    let line = format!("added {} to {name}", join(&fresh));
    let fresh: Vec<Instance> = fresh.into_iter().map(|spec| new_instance(wanted, spec)).collect();
    if let Some(service) = wanted.services.get_mut(name) {
        service.instances.extend(fresh);
    }
    validate(wanted, name)?;
    Ok(line)
}

fn remove(wanted: &mut Wanted, name: &Name, gone: &[Name]) -> Result<String, ChangeError> {
    let service = wanted.services.get_mut(name).ok_or_else(|| ChangeError::NoService(name.clone()))?;
    if let Some(unknown) = gone.iter().find(|gone| service.instance(gone).is_none()) {
        return Err(ChangeError::NoInstance(name.clone(), unknown.clone()));
    }
    service.instances.retain(|instance| !gone.contains(&instance.spec.name));
    if service.instances.is_empty() {
        return usage(format!(
            "`{name}` would have no instance left: `wocut detach {name}` ends the service"
        ));
    }
    Ok(format!("removed {} from {name}", join(gone)))
}

fn drain(wanted: &mut Wanted, services: &[(Name, Vec<Name>)]) -> Result<String, ChangeError> {
    let (mut drained, mut already) = (Vec::new(), Vec::new());
    for (service, instances) in services {
        for instance in instances {
            let found = find(wanted, service, instance)?;
            let line = format!("{service}/{instance}");
            if found.admin == Admin::Ready {
                found.admin = Admin::Drain;
                drained.push(line);
            } else {
                already.push(line);
            }
        }
    }
    Ok(match (drained.is_empty(), already.is_empty()) {
        (false, _) => format!("drained {}", join(drained)),
        (true, false) => format!("drained already: {}", join(already)),
        (true, true) => "nothing to drain".into(),
    })
}

fn health(wanted: &mut Wanted, found: &[(Name, Name, Health)]) -> String {
    let mut lines = Vec::new();
    for (service, name, health) in found {
        let slowly = wanted.services.get(service).is_some_and(|service| service.options.slow_start.is_some());
        let Ok(instance) = find(wanted, service, name) else { continue };
        let was = std::mem::replace(&mut instance.health, *health);
        if was == *health {
            continue;
        }
        instance.throttle = (slowly && was == Health::Down && *health == Health::Up).then_some(FIRST_PART);
        lines.push(format!("{service}/{name} is {health}"));
    }
    if lines.is_empty() { "every instance is as it was".into() } else { lines.join(", ") }
}

fn throttle(wanted: &mut Wanted, found: &[(Name, Name, Option<u8>)]) -> String {
    let mut lines = Vec::new();
    for (service, name, part) in found {
        let Ok(instance) = find(wanted, service, name) else { continue };
        // One that went down meanwhile begins again when it is up.
        if instance.throttle.is_some() && instance.throttle != *part {
            instance.throttle = *part;
            lines.push(format!("{service}/{name} has {} % of its weight", part.unwrap_or(100)));
        }
    }
    if lines.is_empty() { "every instance is as it was".into() } else { lines.join(", ") }
}

pub(super) fn find<'a>(
    wanted: &'a mut Wanted,
    service: &Name,
    name: &Name,
) -> Result<&'a mut Instance, ChangeError> {
    let found = wanted.services.get_mut(service).ok_or_else(|| ChangeError::NoService(service.clone()))?;
    let instance = found.instances.iter_mut().find(|instance| instance.spec.name == *name);
    instance.ok_or_else(|| ChangeError::NoInstance(service.clone(), name.clone()))
}

pub(super) fn new_instance(wanted: &mut Wanted, spec: InstanceSpec) -> Instance {
    let others = || wanted.services.values().flat_map(|service| &service.instances);
    let is_used = |id| others().any(|other| Load::place(other.id) == Load::place(id));
    let mut id = wanted.next_instance;
    // Of the ids in use, no two share a place. One too many is refused later, and needs none.
    while others().nth(MAX_INSTANCES - 1).is_none() && is_used(id) {
        id = next_id(id);
    }
    wanted.next_instance = next_id(id);
    Instance::new(id, spec)
}

fn next_id(id: u32) -> u32 {
    id.wrapping_add(1).max(1)
}

pub(super) fn free_index(wanted: &Wanted) -> Result<u32, ChangeError> {
    let used: BTreeSet<u32> = wanted.services.values().map(|service| service.index).collect();
    let free = (0..).take(MAX_SERVICES).find(|index| !used.contains(index));
    free.ok_or_else(|| ChangeError::Conflict {
        what: format!("{MAX_SERVICES} services are attached, more do not fit"),
        forceable: false,
    })
}

pub(super) fn describe(service: &Service) -> String {
    let instances = service.instances.iter().map(|instance| match instance.admin {
        Admin::Ready if instance.backup => format!("{} (backup)", instance.spec),
        Admin::Ready => instance.spec.to_string(),
        other => format!("{} ({other})", instance.spec),
    });
    let instances = join(instances);
    let instances = if instances.is_empty() { "nobody yet" } else { &instances };
    format!("{} to {instances}", join(&service.listen))
}

pub(super) fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use wocut_common::Load;

    use super::{Change, ChangeError};
    use crate::model::{Admin, CheckOverride, EngineKind, Health, InstanceSpec, Name, Options, Wanted};

    fn attach(name: &str, listen: &str, instances: &str, force: bool) -> Change {
        Change::Attach {
            name: name.parse().unwrap(),
            listen: listen.split(' ').map(|l| l.parse().unwrap()).collect(),
            instances: specs(instances),
            options: Options::default(),
            engine: EngineKind::Ebpf,
            engine_reason: None,
            force,
        }
    }

    fn specs(text: &str) -> Vec<InstanceSpec> {
        text.split(' ').map(|i| i.parse().unwrap()).collect()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn web() -> Wanted {
        let mut wanted = Wanted::empty(None);
        attach("web", "80/tcp", "8001 8002", false).apply(&mut wanted).unwrap();
        wanted
    }

    fn refused(change: Change) -> ChangeError {
        let mut wanted = web();
        change.apply(&mut wanted).unwrap_err()
    }

    #[test]
    fn every_verb_can_be_said_twice() {
        let mut wanted = web();
        for change in [
            attach("web", "80/tcp", "8001 8002", false),
            Change::Add(name("web"), specs("8002")),
            Change::Weight(name("web"), name("8001"), "1".parse().unwrap()),
            Change::Admin(name("web"), name("8001"), Admin::Ready),
        ] {
            let before = wanted.clone();
            assert!(change.apply(&mut wanted).unwrap().contains("already"));
            assert_eq!(wanted, before);
        }
    }

    #[test]
    fn forced_attach_keeps_the_ids_of_instances_that_stay() {
        let mut wanted = web();
        assert!(matches!(
            attach("web", "81/tcp", "8002 8003", false).apply(&mut wanted.clone()),
            Err(ChangeError::Conflict { forceable: true, .. })
        ));
        attach("web", "81/tcp", "8002*5 8003", true).apply(&mut wanted).unwrap();
        let ids: Vec<u32> = wanted.services["web"].instances.iter().map(|instance| instance.id).collect();
        assert_eq!(ids, [2, 3]);
    }

    #[test]
    fn forced_attach_keeps_checks_on_another_engine_too() {
        let mut wanted = web();
        wanted.services.get_mut("web").unwrap().instances[1].check = Some(CheckOverride::Off);
        let mut change = attach("web", "80/tcp", "8001 8002", true);
        let Change::Attach { engine, .. } = &mut change else { panic!("{change:?}") };
        *engine = EngineKind::Iptables;
        change.apply(&mut wanted).unwrap();
        let kept: Vec<_> =
            wanted.services["web"].instances.iter().map(|it| (it.id, it.check.clone())).collect();
        assert_eq!(kept, [(3, None), (4, Some(CheckOverride::Off))]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let no_service = ChangeError::NoService(name("db"));
        assert_eq!(refused(Change::Detach(name("db"))), no_service);
        assert_eq!(refused(Change::Add(name("db"), specs("8001"))), no_service);
        let no_instance = ChangeError::NoInstance(name("web"), name("8009"));
        assert_eq!(refused(Change::Remove(name("web"), vec![name("8009")])), no_instance);
        assert_eq!(refused(Change::Admin(name("web"), name("8009"), Admin::Drain)), no_instance);
    }

    #[test]
    fn last_instance_is_not_removed() {
        let error = refused(Change::Remove(name("web"), vec![name("8001"), name("8002")]));
        assert!(matches!(error, ChangeError::Usage(_)));
    }

    #[test]
    fn drain_leaves_maintenance_as_it_is() {
        let mut wanted = web();
        Change::Admin(name("web"), name("8002"), Admin::Maint).apply(&mut wanted).unwrap();
        let all = Change::Drain(vec![(name("web"), vec![name("8001"), name("8002")])]);
        assert_eq!(all.clone().apply(&mut wanted).unwrap(), "drained web/8001");
        let admin: Vec<Admin> =
            wanted.services["web"].instances.iter().map(|instance| instance.admin).collect();
        assert_eq!(admin, [Admin::Drain, Admin::Maint]);
        assert_eq!(all.apply(&mut wanted).unwrap(), "drained already: web/8001 web/8002");
        let nobody = Change::Drain(vec![(name("web"), vec![name("8009")])]);
        assert_eq!(refused(nobody), ChangeError::NoInstance(name("web"), name("8009")));
    }

    #[test]
    fn who_comes_up_again_starts_slowly() {
        let mut wanted = web();
        let health = |wanted: &mut Wanted, instance: &str, health| {
            Change::Health(vec![(name("web"), name(instance), health)]).apply(wanted).unwrap();
        };
        let throttles = |wanted: &Wanted| -> Vec<Option<u8>> {
            wanted.services["web"].instances.iter().map(|instance| instance.throttle).collect()
        };
        let grow = |wanted: &mut Wanted, part| {
            let both = ["8001", "8002"].map(|instance| (name("web"), name(instance), part));
            Change::Throttle(both.into()).apply(wanted).unwrap()
        };
        health(&mut wanted, "8001", Health::Down);
        health(&mut wanted, "8001", Health::Up);
        assert_eq!(throttles(&wanted), [None, None], "nobody asked for it");
        wanted.services.get_mut("web").unwrap().options.slow_start = "10s".parse().ok();
        health(&mut wanted, "8002", Health::Up);
        assert_eq!(throttles(&wanted), [None, None], "it had its share before");
        health(&mut wanted, "8001", Health::Down);
        health(&mut wanted, "8001", Health::Up);
        assert_eq!(throttles(&wanted), [Some(10), None]);
        assert_eq!(grow(&mut wanted, Some(20)), "web/8001 has 20 % of its weight");
        assert_eq!(throttles(&wanted), [Some(20), None]);
        health(&mut wanted, "8001", Health::Down);
        assert_eq!(throttles(&wanted), [None, None]);
        assert_eq!(grow(&mut wanted, Some(30)), "every instance is as it was");
        health(&mut wanted, "8002", Health::Down);
        health(&mut wanted, "8001", Health::Up);
        health(&mut wanted, "8002", Health::Up);
        assert_eq!(throttles(&wanted), [Some(10), Some(10)], "after an outage they share alike");
        assert_eq!(
            grow(&mut wanted, None),
            "web/8001 has 100 % of its weight, web/8002 has 100 % of its weight"
        );
        assert_eq!(throttles(&wanted), [None, None]);
    }

    #[test]
    fn ids_in_use_have_places_of_their_own() {
        let mut wanted = web();
        wanted.next_instance = 1 + Load::place(u32::MAX) + 1;
        Change::Add(name("web"), specs("8003 8004")).apply(&mut wanted).unwrap();
        attach("web", "80/tcp", "8001 8002 8005", true).apply(&mut wanted).unwrap();
        let places = wanted.services["web"].instances.iter().map(|instance| Load::place(instance.id));
        assert_eq!(places.collect::<Vec<_>>(), [1, 2, 5]);
    }

    #[test]
    fn index_of_a_service_that_is_gone_is_used_again_but_no_id() {
        let mut wanted = web();
        Change::Detach(name("web")).apply(&mut wanted).unwrap();
        attach("db", "90/tcp", "9001", false).apply(&mut wanted).unwrap();
        assert_eq!((wanted.services["db"].index, wanted.services["db"].instances[0].id), (0, 3));
    }
}
