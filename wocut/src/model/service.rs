//! A service, and everything that is wanted in one network namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{
    Check, CheckOverride, Claim, Description, Instance, Listen, Name, Options, ParseError, Protocol, Weight,
    serde_as_text,
};

/// What carries a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Programs in the kernel.
    Ebpf,
    /// Rules in the mangle and nat tables.
    Iptables,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ebpf => "ebpf",
            Self::Iptables => "iptables",
        })
    }
}

/// One service port, or several, and the instances behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Place in the kernel's tables; free again when the service is gone.
    pub index: u32,
    /// What carries it.
    pub engine: EngineKind,
    /// Why it is not on eBPF, when that was tried and refused.
    pub engine_reason: Option<String>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// Where it takes connections: at least one.
    pub listen: Vec<Listen>,
    /// How it works.
    #[serde(flatten)]
    pub options: Options,
    /// How its instances show that they are up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// At most [`wocut_common::MAX_MEMBERS`]; none where the API is to add them.
    pub instances: Vec<Instance>,
}

impl Service {
    /// The instance of that name.
    pub fn instance(&self, name: &Name) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.spec.name == *name)
    }

    /// Whether `run` or `cluster` starts and ends its instances.
    pub fn is_of_processes(&self) -> bool {
        self.instances.iter().any(|instance| instance.process.is_some())
    }

    /// The check that holds for one of its instances.
    pub fn check_of<'s>(&'s self, instance: &'s Instance) -> Option<&'s Check> {
        CheckOverride::held(instance.check.as_ref(), self.check.as_ref())
    }

    /// What each instance has of the new connections now, relative to the others and in their order. 0 is nothing.
    pub fn weights(&self) -> Vec<u16> {
        let unit = self.unit();
        let primary = self.instances.iter().any(|instance| !instance.backup && instance.is_eligible());
        let weight = |instance: &Instance| {
            let whole = instance.spec.weight.get() * unit;
            match instance.throttle {
                _ if !instance.is_eligible() || instance.backup == primary => 0,
                // Tenths of at most ten times the greatest weight.
                Some(percent) => (whole * u16::from(percent.min(100) / 10) / 10).max(1),
                None => whole,
            }
        };
        self.instances.iter().map(weight).collect()
    }

    /// What a weight of 1 counts for in [`Self::weights`]: more than 1 while somebody has a part of a weight.
    pub fn unit(&self) -> u16 {
        let most = self.instances.iter().map(|instance| instance.spec.weight.get()).max();
        let is_whole = self.instances.iter().all(|instance| instance.throttle.is_none());
        if is_whole { 1 } else { (Weight::MAX / most.unwrap_or(1).max(1)).min(10) }
    }

    /// The instances that are given new connections, each with its weight.
    pub fn takers(&self) -> impl Iterator<Item = (&Instance, u16)> {
        self.instances.iter().zip(self.weights()).filter(|(_, weight)| *weight > 0)
    }
}

/// Everything that is wanted in one network namespace: what the state file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// 1.
    pub schema: u32,
    /// Cookie of the namespace, where the kernel has one: inode numbers come back, cookies do not.
    pub netns_cookie: Option<u64>,
    /// Whether the kernel may not match yet: a command wrote this down and has not said that it got there.
    pub unfinished: bool,
    /// The id that the next instance gets.
    pub next_instance: u32,
    /// Ports that this state put into `ip_local_reserved_ports`.
    pub reserved_ports: BTreeSet<u16>,
    /// Engines that may hold something in the kernel, also when no service is on them any more.
    pub engines: BTreeSet<EngineKind>,
    /// By name.
    pub services: BTreeMap<Name, Service>,
    /// Ports on which processes are being started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<u16, Claim>,
}

impl Wanted {
    /// The layout that this binary reads and writes. A new field takes `#[serde(default)]`; this goes up only where an
    /// older version must not take the file.
    pub const SCHEMA: u32 = 1;

    /// Nothing is wanted.
    pub fn empty(netns_cookie: Option<u64>) -> Self {
        Self {
            schema: Self::SCHEMA,
            netns_cookie,
            unfinished: false,
            next_instance: 1,
            reserved_ports: BTreeSet::new(),
            engines: BTreeSet::new(),
            services: BTreeMap::new(),
            claims: BTreeMap::new(),
        }
    }

    /// The services on one engine.
    pub fn on(&self, engine: EngineKind) -> Vec<(&Name, &Service)> {
        self.services.iter().filter(|(_, service)| service.engine == engine).collect()
    }

    /// Ports that the kernel must not give to outgoing connections: those of services, which no socket holds, and those
    /// that processes are started on.
    pub fn kept_ports(&self) -> BTreeSet<u16> {
        let listens = self.services.values().flat_map(|service| &service.listen);
        let tcp = listens.filter(|listen| listen.protocol == Protocol::Tcp).map(|listen| listen.port);
        let instances = self.services.values().flat_map(|service| &service.instances);
        let processes = instances.filter(|instance| instance.process.is_some());
        tcp.chain(processes.map(|instance| instance.spec.port)).chain(self.claims.keys().copied()).collect()
    }
}

/// `--engine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// eBPF where it works, else iptables.
    #[default]
    Auto,
    /// That one or none.
    Only(EngineKind),
}

impl EngineChoice {
    /// Whether a service that is on this engine may stay there.
    pub fn allows(self, engine: EngineKind) -> bool {
        matches!(self, Self::Auto) || self == Self::Only(engine)
    }
}

impl FromStr for EngineChoice {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "auto" => Ok(Self::Auto),
            "ebpf" => Ok(Self::Only(EngineKind::Ebpf)),
            "iptables" => Ok(Self::Only(EngineKind::Iptables)),
            _ => Err(ParseError::new(text, "an engine", "it is `auto`, `ebpf` or `iptables`")),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Only(kind) => kind.fmt(f),
        }
    }
}

serde_as_text!(EngineChoice);

#[cfg(test)]
mod tests {
    use super::{EngineKind, Service};
    use crate::model::{Admin, Health, Instance, Options};

    fn service(instances: &[&str]) -> Service {
        let instances = (1..).zip(instances).map(|(id, spec)| Instance::new(id, spec.parse().unwrap()));
        Service {
            index: 0,
            engine: EngineKind::Ebpf,
            engine_reason: None,
            description: None,
            listen: Vec::new(),
            options: Options::default(),
            check: None,
            instances: instances.collect(),
        }
    }

    #[test]
    fn backups_take_connections_when_all_others_cannot() {
        let mut web = service(&["8001", "8002*2", "8003*3", "8004*4"]);
        web.instances[2].backup = true;
        web.instances[3].backup = true;
        assert_eq!(web.weights(), [1, 2, 0, 0]);
        web.instances[0].health = Health::Down;
        assert_eq!(web.weights(), [0, 2, 0, 0]);
        web.instances[1].admin = Admin::Drain;
        assert_eq!(web.weights(), [0, 0, 3, 4]);
        web.instances[3].health = Health::Down;
        assert_eq!(web.weights(), [0, 0, 3, 0]);
        web.instances[2].admin = Admin::Maint;
        assert_eq!(web.weights(), [0; 4]);
    }

    #[test]
    fn throttled_instance_has_its_part_of_its_weight() {
        let mut web = service(&["8001", "8002*2", "8003*0"]);
        web.instances[1].throttle = Some(10);
        assert_eq!(web.weights(), [10, 2, 0]);
        web.instances[0].spec.weight = "256".parse().unwrap();
        web.instances[1].throttle = Some(50);
        assert_eq!(web.weights(), [256, 1, 0]);
        web.instances[1].throttle = Some(255);
        assert_eq!(web.weights(), [256, 2, 0]);
    }
}
