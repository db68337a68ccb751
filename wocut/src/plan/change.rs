//! One command's change of the wanted state.

use std::collections::BTreeSet;

use wocut_common::{
    MAX_MEMBERS,
    maps::{MAX_INSTANCES, MAX_SERVICES},
};

use crate::model::{
    Admin, EngineKind, Health, Instance, InstanceSpec, Listen, Name, OnEmpty, Policy, Service, Wanted, Weight,
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
        /// How a pick is made.
        policy: Policy,
        /// When nobody can serve.
        on_empty: OnEmpty,
        /// What carries it.
        engine: EngineKind,
        /// Why that is not eBPF, when that was tried.
        engine_reason: Option<String>,
        /// Take the place of a different service of that name.
        force: bool,
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

fn usage<T>(what: impl Into<String>) -> Result<T, ChangeError> {
    Err(ChangeError::Usage(what.into()))
}

impl Change {
    /// Makes the change. Returns one line that says what changed, or that nothing did.
    pub fn apply(self, wanted: &mut Wanted) -> Result<String, ChangeError> {
        match self {
            Self::Attach { .. } => self.attach(wanted),
            Self::Detach(name) => match wanted.services.remove(&name) {
                Some(_) => Ok(format!("detached {name}")),
                None => Err(ChangeError::NoService(name)),
            },
            Self::DetachAll => {
                let names = join(wanted.services.keys());
                wanted.services.clear();
                Ok(if names.is_empty() { "nothing is attached".into() } else { format!("detached {names}") })
            }
            Self::Add(name, specs) => add(wanted, &name, specs),
            Self::Remove(name, instances) => remove(wanted, &name, &instances),
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
        }
    }

    fn attach(self, wanted: &mut Wanted) -> Result<String, ChangeError> {
        let Self::Attach { name, listen, instances, policy, on_empty, engine, engine_reason, force } = self
        else {
            return usage("not an attach");
        };
        if listen.is_empty() || instances.is_empty() {
            return usage(
                "a service wants at least one LISTEN and one INSTANCE, as in `80/tcp to 8001 8002`",
            );
        }
        for (i, one) in listen.iter().enumerate() {
            if let Some(other) = listen[..i].iter().find(|other| one.collides(**other)) {
                return usage(format!("{one} is listened on twice: {other} is the same place"));
            }
        }
        let old = wanted.services.get(&name);
        if let Some(old) = old {
            let same = old.listen == listen
                && old.instances.iter().map(|instance| &instance.spec).eq(&instances)
                && old.policy == policy
                && old.on_empty == on_empty
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
        // Instances that stay keep their ids, and with them their counters and open connections.
        let mut kept = wanted.services.remove(&name).map(|old| old.instances).unwrap_or_default();
        let instances: Vec<Instance> = instances
            .into_iter()
            .map(|spec| {
                let same = |old: &Instance| old.spec.port == spec.port && old.spec.address == spec.address;
                match kept.iter().position(same) {
                    Some(i) => Instance { spec, ..kept.swap_remove(i) },
                    None => new_instance(wanted, spec),
                }
            })
            .collect();
        let service = Service { index, engine, engine_reason, listen, policy, on_empty, instances };
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
                        "service `{name}` has an instance `{}` already, as {}",
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

fn find<'a>(wanted: &'a mut Wanted, service: &Name, name: &Name) -> Result<&'a mut Instance, ChangeError> {
    let found = wanted.services.get_mut(service).ok_or_else(|| ChangeError::NoService(service.clone()))?;
    let instance = found.instances.iter_mut().find(|instance| instance.spec.name == *name);
    instance.ok_or_else(|| ChangeError::NoInstance(service.clone(), name.clone()))
}

fn new_instance(wanted: &mut Wanted, spec: InstanceSpec) -> Instance {
    let id = wanted.next_instance;
    wanted.next_instance = id.wrapping_add(1).max(1);
    Instance { id, spec, admin: Admin::default(), health: Health::default(), picked_before: 0 }
}

fn free_index(wanted: &Wanted) -> Result<u32, ChangeError> {
    let used: BTreeSet<u32> = wanted.services.values().map(|service| service.index).collect();
    let free = (0..).take(MAX_SERVICES).find(|index| !used.contains(index));
    free.ok_or_else(|| ChangeError::Usage(format!("{MAX_SERVICES} services are attached, more do not fit")))
}

/// Checks the service of that name, just changed, by itself and against the others.
fn validate(wanted: &Wanted, name: &Name) -> Result<(), ChangeError> {
    let Some(service) = wanted.services.get(name) else { return Ok(()) };
    let specs: Vec<&InstanceSpec> = service.instances.iter().map(|instance| &instance.spec).collect();
    if specs.len() > MAX_MEMBERS {
        return usage(format!("{} instances: a service has at most {MAX_MEMBERS}", specs.len()));
    }
    if let Some(twice) = duplicate(specs.iter().map(|spec| (spec.address, spec.port))) {
        let twice = specs.iter().find(|spec| (spec.address, spec.port) == twice);
        return usage(format!(
            "instance {} is there twice",
            twice.map_or(String::new(), ToString::to_string)
        ));
    }
    if let Some(twice) = duplicate(specs.iter().map(|spec| &spec.name)) {
        return usage(format!(
            "two instances are named `{twice}`: give them names, as in `a=127.0.0.2:8001`"
        ));
    }
    let all: usize = wanted.services.values().map(|service| service.instances.len()).sum();
    if all > MAX_INSTANCES {
        return usage(format!("{all} instances: all services together have at most {MAX_INSTANCES}"));
    }
    for (other_name, other) in &wanted.services {
        for listen in &other.listen {
            if let Some(spec) = specs.iter().find(|spec| spec.port == listen.port) {
                let whose =
                    if other_name == name { "the service's own".into() } else { format!("`{other_name}`'s") };
                return usage(format!("instance {spec} is {whose} service port {listen}"));
            }
            if other_name == name {
                continue;
            }
            if service.listen.iter().any(|mine| mine.collides(*listen)) {
                return Err(ChangeError::Conflict {
                    what: format!("service `{other_name}` listens on {listen} already"),
                    forceable: false,
                });
            }
            let instance =
                other.instances.iter().find(|i| service.listen.iter().any(|l| l.port == i.spec.port));
            if let Some(instance) = instance {
                return usage(format!(
                    "{} would listen on the port of instance {} of service `{other_name}`",
                    name, instance.spec
                ));
            }
        }
    }
    Ok(())
}

fn duplicate<T: Ord + Clone>(items: impl IntoIterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().find(|item| !seen.insert(item.clone()))
}

fn describe(service: &Service) -> String {
    format!("{} to {}", join(&service.listen), join(service.instances.iter().map(|i| &i.spec)))
}

fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}
