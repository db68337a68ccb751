//! What a request makes of what is wanted. Pure: it is applied under the host's lock, on what is wanted then.

use std::collections::BTreeSet;

use super::{
    BackendShape, ServiceShape, check,
    definition::{blank, edited, with_backend},
    place::shown,
    refusal::Refusal,
};
use crate::{
    host,
    model::{
        Admin, Definition, EngineChoice, Member, Name, OnEmpty, Policy, Service, StickyPrefix, Wanted, Weight,
    },
    plan::{Change, ChangeError},
};

/// What a request wants changed.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// A service comes, or becomes this.
    Put(Name, Box<ServiceShape>),
    /// A service becomes this in part; the fields that were null are as if never given.
    Patch(Name, Box<ServiceShape>, Vec<String>),
    /// A service goes.
    Delete(Name),
    /// A backend comes, or becomes this.
    PutBackend(Name, Name, BackendShape),
    /// A backend becomes this in part.
    PatchBackend(Name, Name, BackendShape, Vec<String>),
    /// A backend goes.
    DeleteBackend(Name, Name),
    /// What the operator wants of a backend.
    Admin(Name, Name, Admin),
    /// These services come, or become this; with `prune` all others go.
    Config { services: Vec<ServiceShape>, prune: bool },
}

/// What comes of it.
#[derive(Clone, Debug)]
pub(super) enum Edited {
    /// Services that become this, each on an engine that is still to be found.
    Definitions { services: Vec<Definition>, prune: bool },
    /// A change that needs no engine.
    Change(Change),
}

impl Edit {
    /// Whether what is to be changed exists.
    pub(super) fn is_there(&self, wanted: &Wanted) -> bool {
        match self {
            Self::Put(name, _) | Self::Patch(name, ..) | Self::Delete(name) => {
                wanted.services.contains_key(name)
            }
            Self::PutBackend(name, backend, _)
            | Self::PatchBackend(name, backend, ..)
            | Self::DeleteBackend(name, backend)
            | Self::Admin(name, backend, _) => {
                wanted.services.get(name).is_some_and(|service| service.instance(backend).is_some())
            }
            Self::Config { .. } => true,
        }
    }

    /// What comes of it, on what is wanted now.
    pub(super) fn on(self, wanted: &Wanted) -> anyhow::Result<Edited> {
        let present = |name: &Name| {
            host::service(wanted, name)
                .map(|service| Definition::of(name, service))
                .map_err(anyhow::Error::from)
        };
        let edited = match self {
            Self::Put(name, body) => Edited::one(edited(blank(name), &body)?),
            Self::Patch(name, body, nulls) => {
                let mut base = present(&name)?;
                nulls.iter().try_for_each(|field| reset(&mut base, field))?;
                Edited::one(edited(base, &body)?)
            }
            Self::Delete(name) => Edited::Change(Change::Detach(name)),
            Self::PutBackend(name, backend, body) => {
                Edited::one(with_backend(present(&name)?, &backend, &body, false)?)
            }
            Self::PatchBackend(name, backend, mut body, nulls) => {
                instance(host::service(wanted, &name)?, &name, &backend)?;
                let mut base = present(&name)?;
                let member = base.instances.iter_mut().find(|member| member.spec.name == backend);
                if let Some(member) = member {
                    nulls.iter().try_for_each(|field| reset_backend(member, &mut body, field))?;
                }
                Edited::one(with_backend(base, &backend, &body, true)?)
            }
            Self::DeleteBackend(name, backend) => {
                instance(host::service(wanted, &name)?, &name, &backend)?;
                let mut base = present(&name)?;
                // Unlike a command, a client may take the last one: it configures backends separately.
                base.instances.retain(|member| member.spec.name != backend);
                Edited::one(base)
            }
            Self::Admin(name, backend, admin) => Edited::Change(Change::Admin(name, backend, admin)),
            Self::Config { services, prune: true } if services.is_empty() => {
                Edited::Change(Change::DetachAll)
            }
            Self::Config { services, prune } => {
                Edited::Definitions { services: definitions(&services)?, prune }
            }
        };
        if let Edited::Definitions { services, .. } = &edited {
            services.iter().try_for_each(|service| check::expect_no_new_program(service, wanted))?;
        }
        Ok(edited)
    }
}

impl Edited {
    fn one(service: Definition) -> Self {
        Self::Definitions { services: vec![service], prune: false }
    }
}

fn definitions(services: &[ServiceShape]) -> Result<Vec<Definition>, Refusal> {
    let mut names = BTreeSet::new();
    let each = services.iter().enumerate().map(|(i, body)| {
        let definition = definition(body).map_err(|refusal| refusal.of(&format!("services[{i}]")))?;
        if names.insert(definition.name.clone()) {
            return Ok(definition);
        }
        let what = format!("services[{i}]: service `{}` is there already", definition.name);
        Err(Refusal::unprocessable(what))
    });
    each.collect()
}

fn definition(body: &ServiceShape) -> Result<Definition, Refusal> {
    let Some(name) = &body.name else {
        return Err(Refusal::unprocessable("name: a service wants one"));
    };
    let name = name.parse().map_err(|error| Refusal::field("name", &error))?;
    edited(blank(name), body)
}

fn instance(service: &Service, name: &Name, instance: &Name) -> Result<(), ChangeError> {
    match service.instance(instance) {
        Some(_) => Ok(()),
        None => Err(ChangeError::NoInstance(name.clone(), instance.clone())),
    }
}

/// A field becomes what it is in a service that never had it.
fn reset(base: &mut Definition, field: &str) -> Result<(), Refusal> {
    let options = &mut base.options;
    match field {
        "check" => base.check = None,
        "description" => base.description = None,
        "engine" => base.engine = EngineChoice::Auto,
        "policy" | "balance" => options.policy = Policy::RoundRobin,
        "sticky_prefix" => options.sticky_prefix = StickyPrefix::default(),
        "on_empty" => options.on_empty = OnEmpty::default(),
        "guard" => options.guard = false,
        "hook" => options.hook = crate::model::HookChoice::default(),
        "allow_degraded" => options.allow_degraded = false,
        "slow_start" => options.slow_start = None,
        "backends" => base.instances.clear(),
        _ => return Err(no_null(field)),
    }
    Ok(())
}

fn reset_backend(present: &mut Member, body: &mut BackendShape, field: &str) -> Result<(), Refusal> {
    match field {
        "check" | "check_address" => present.check = None,
        "weight" => body.weight = Some(Weight::default().get()),
        "backup" => body.backup = Some(false),
        "admin" => body.admin = Some(Admin::default().to_string()),
        _ => return Err(no_null(field)),
    }
    Ok(())
}

fn no_null(field: &str) -> Refusal {
    Refusal::unprocessable(format!("{}: it cannot be null", shown(field)))
}
