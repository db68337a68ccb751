//! A service as a file wants it.

use std::{fmt, str::FromStr};

use super::{
    Admin, Check, CheckOverride, EngineChoice, EngineKind, Instance, InstanceSpec, Listen, Name, Options,
    ParseError, Service, serde_as_text,
};

/// A service as a file wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: Name,
    /// Where it takes connections: at least one.
    pub listen: Vec<Listen>,
    /// Who serves them. There may be none yet: clients of the API add them one by one.
    pub instances: Vec<Member>,
    /// How it works.
    pub options: Options,
    /// What may carry it.
    pub engine: EngineChoice,
    /// What it is, for people.
    pub description: Option<Description>,
    /// How its instances show that they are up.
    pub check: Option<Check>,
}

/// An instance as a file wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name, place and weight.
    pub spec: InstanceSpec,
    /// None: whatever the operator wants of it now.
    pub admin: Option<Admin>,
    /// None: its service's check holds.
    pub check: Option<CheckOverride>,
    /// Whether it is for the time when no other one can take connections.
    pub backup: bool,
}

impl From<InstanceSpec> for Member {
    fn from(spec: InstanceSpec) -> Self {
        Self { spec, admin: None, check: None, backup: false }
    }
}

impl From<&Instance> for Member {
    /// What makes an instance as it is now.
    fn from(instance: &Instance) -> Self {
        let Instance { spec, admin, check, backup, .. } = instance.clone();
        Self { spec, admin: Some(admin), check, backup }
    }
}

impl Definition {
    /// What makes a service as it is now.
    pub fn of(name: &Name, service: &Service) -> Self {
        Self {
            name: name.clone(),
            listen: service.listen.clone(),
            instances: service.instances.iter().map(Member::from).collect(),
            options: service.options,
            // One that was tried and refused may be taken another time.
            engine: match service.engine_reason {
                None if service.engine == EngineKind::Iptables => EngineChoice::Only(EngineKind::Iptables),
                _ => EngineChoice::Auto,
            },
            description: service.description.clone(),
            check: service.check.clone(),
        }
    }

    /// The service that this is by itself, for who asks whether an engine can carry it.
    pub fn draft(&self, engine: EngineKind) -> Service {
        let instance = |member: &Member| Instance {
            admin: member.admin.unwrap_or_default(),
            check: member.check.clone(),
            backup: member.backup,
            ..Instance::new(0, member.spec.clone())
        };
        Service {
            index: 0,
            engine,
            engine_reason: None,
            description: self.description.clone(),
            listen: self.listen.clone(),
            options: self.options,
            check: self.check.clone(),
            instances: self.instances.iter().map(instance).collect(),
        }
    }
}

/// A line for people: 1 to 200 characters, none of which controls anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description(String);

impl Description {
    /// Characters at most.
    pub const MAX: usize = 200;

    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Description {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() || text.chars().count() > Self::MAX || text.chars().any(char::is_control) {
            let why = "it is one line of 1 to 200 characters";
            return Err(ParseError::new(text, "a description", why));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(Description);
