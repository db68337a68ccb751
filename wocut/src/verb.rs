//! What a command asks for: carried out on this host, or sent to the daemon, which carries it out the same way.

use serde::{Deserialize, Serialize};

use crate::{
    conflicts::{self, Ask},
    departure::Departure,
    host::{Done, Host, Proposal},
    model::{Admin, EngineChoice, EngineKind, InstanceSpec, Listen, Name, Options, Wanted, Weight},
    plan::Change,
    propose,
};

/// A verb, and how it is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What is to be done.
    pub verb: Verb,
    /// Go on where something else is in the way.
    #[serde(default)]
    pub force: bool,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Say what is done to the kernel.
    #[serde(default)]
    pub verbose: bool,
}

/// What is to be done. None of them names a program that would be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// A service comes.
    Attach(NewService),
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
    /// Those who are to go get no new connections, and no pick that is under way goes to them.
    Empty(Departure),
    /// Those who were emptied go.
    Leave(Departure),
}

/// A service as `attach` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewService {
    /// Its name.
    pub name: Name,
    /// Where it takes connections.
    pub listen: Vec<Listen>,
    /// Who serves them.
    pub instances: Vec<InstanceSpec>,
    /// How it works.
    pub options: Options,
    /// What may carry it.
    pub engine: EngineChoice,
}

impl NewService {
    /// The change that attaches it on an engine.
    pub fn on(&self, engine: EngineKind, engine_reason: Option<String>, force: bool) -> Change {
        let Self { name, listen, instances, options, engine: _ } = self.clone();
        Change::Attach { name, listen, instances, options, engine, engine_reason, force }
    }
}

impl Order {
    /// Carries it out here.
    pub fn carry_out(self, host: &Host) -> anyhow::Result<Done> {
        let is_emptied = matches!(self.verb, Verb::Empty(_)) && !self.dry_run;
        let done = host.change(self.dry_run, self.verbose, |host, wanted| self.propose(host, wanted))?;
        if is_emptied {
            host.settle(host.wanted()?.services.values())?;
        }
        Ok(done)
    }

    fn propose(&self, host: &Host, wanted: &Wanted) -> anyhow::Result<Proposal> {
        let ask = Ask { force: self.force, verbose: self.verbose };
        match &self.verb {
            Verb::Attach(new) => propose::attach(host, wanted, new, ask, self.dry_run),
            verb => {
                let change = verb.on(wanted, self.dry_run)?;
                let mut draft = wanted.clone();
                change.clone().apply(&mut draft)?;
                // Who brings nothing meets no conflict.
                let warnings = conflicts::check(host.netns(), wanted, &draft, ask)?;
                Ok(Proposal { change, warnings, notes: Vec::new() })
            }
        }
    }
}

impl Verb {
    /// The change that it is of what is wanted. Pure; a new service is on the engine that is tried first.
    pub(crate) fn on(&self, wanted: &Wanted, dry_run: bool) -> anyhow::Result<Change> {
        Ok(match self.clone() {
            Self::Attach(new) => new.on(EngineKind::Ebpf, None, false),
            Self::Detach(name) => Change::Detach(name),
            Self::DetachAll => Change::DetachAll,
            Self::Add(name, instances) => Change::Add(name, instances),
            Self::Remove(name, instances) => Change::Remove(name, instances),
            Self::Weight(name, instance, weight) => Change::Weight(name, instance, weight),
            Self::Admin(name, instance, admin) => Change::Admin(name, instance, admin),
            Self::Empty(departure) => departure.first(wanted)?,
            Self::Leave(departure) => departure.last(wanted, dry_run)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{NewService, Order, Verb};
    use crate::{departure::Departure, model::Options};

    #[test]
    fn order_survives_a_round_trip() {
        let (web, one) = (|| "web".parse().unwrap(), || "8001".parse().unwrap());
        let attach = NewService {
            name: web(),
            listen: vec!["80/tcp".parse().unwrap()],
            instances: vec!["a=127.0.0.1:8001*3".parse().unwrap()],
            options: Options::default(),
            engine: "iptables".parse().unwrap(),
        };
        for verb in [
            Verb::Attach(attach),
            Verb::DetachAll,
            Verb::Weight(web(), one(), "0".parse().unwrap()),
            Verb::Empty(Departure::Detach(None)),
            Verb::Leave(Departure::Remove(web(), vec!["8001".parse().unwrap()])),
        ] {
            let order = Order { verb, force: true, dry_run: false, verbose: true };
            let text = serde_json::to_string(&order).unwrap();
            assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order, "{text}");
        }
    }

    #[test]
    fn order_cannot_name_a_program() {
        let attach = |more: serde_json::Value| {
            let mut attach = json!({"name": "web", "listen": ["80/tcp"], "instances": ["8001"],
                "options": {}, "engine": "auto"});
            attach.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<Order>(json!({"verb": {"attach": attach}}))
        };
        assert!(attach(json!({})).is_ok());
        assert!(attach(json!({"check": {"type": "exec", "command": ["/bin/true"]}})).is_err());
        let apply = json!({"verb": {"apply": {"services": [], "prune": true}}});
        assert!(serde_json::from_value::<Order>(apply).is_err());
    }
}
