//! What else on this host wants what a service is about to take: looked for before anything is changed.
//!
//! One file a kind of conflict: [`listeners`], [`programs`], [`rules`], [`marks`], [`shared`], [`ephemeral`] and
//! [`filters`]. `traffic`, `ruleset`, `iptables` and `nft` read packet filter rules, and are pure, so that a rule for
//! another port, address or protocol is no conflict. A source that cannot be read is no error: it is said when asked.

mod ephemeral;
mod filters;
mod iptables;
mod listeners;
mod marks;
mod nft;
mod owner;
mod programs;
mod rules;
mod ruleset;
mod shared;
mod traffic;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    model::{EngineKind, Instance, Listen, Name, Service, Wanted},
    sys::netns::Netns,
};

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Another program picks sockets in this network namespace.
    SkLookup,
    /// A packet filter rule takes the service port first.
    Rule,
    /// Somebody else uses bits of the packet mark.
    Mark,
    /// Another service has the same instance.
    SharedInstance,
    /// The kernel may give an instance's port to an outgoing connection.
    EphemeralPort,
    /// Another tool's program or filter sees the packets of an interface first.
    TcFilter,
}

/// One thing in the way of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The service that it is in the way of.
    pub service: Name,
    /// Of what kind it is.
    pub kind: Kind,
    /// What is in the way of what.
    pub what: String,
    /// Whose it is.
    pub owner: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, what, owner, .. } = self;
        write!(f, "{service}: {what}; it belongs to {owner}")
    }
}

/// Everything that is in the way. `--force` overrides it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} on this host, and nothing was changed", count(.0.len()))]
pub struct Conflicts(pub Vec<Conflict>);

fn count(conflicts: usize) -> String {
    if conflicts == 1 { "1 conflict".into() } else { format!("{conflicts} conflicts") }
}

/// How a check is meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// Conflicts are warnings.
    pub force: bool,
    /// What could not be looked at is a warning.
    pub verbose: bool,
}

/// What was found.
#[derive(Debug, Default)]
struct Report {
    conflicts: Vec<Conflict>,
    /// What is worth to be known and no reason to stop.
    notes: Vec<String>,
    /// What could not be looked at, and why.
    unread: Vec<String>,
}

impl Report {
    fn unread(&mut self, what: &str, error: &dyn fmt::Display) {
        let line = format!("not looked for conflicts: {what}: {error}");
        if !self.unread.contains(&line) {
            self.unread.push(line);
        }
    }
}

/// What a change brings to a service.
#[derive(Debug)]
struct Newcomer<'a> {
    name: &'a Name,
    service: &'a Service,
    /// The LISTENs that it did not have.
    listens: Vec<&'a Listen>,
    /// The instances that it did not have.
    instances: Vec<&'a Instance>,
}

impl<'a> Newcomer<'a> {
    /// Nothing, if a service has nothing that it did not have on the same engine.
    fn of(before: &Wanted, name: &'a Name, service: &'a Service) -> Option<Self> {
        let old = before.services.get(name).filter(|old| old.engine == service.engine);
        // Another way to work takes the port by other means.
        let same_way = |old: &Service| old.options.hook == service.options.hook;
        let had_listen =
            |listen: &&Listen| old.is_some_and(|old| same_way(old) && old.listen.contains(listen));
        let had_instance = |instance: &&Instance| {
            let same = |old: &Instance| {
                (old.spec.address, old.spec.port) == (instance.spec.address, instance.spec.port)
            };
            old.is_some_and(|old| old.instances.iter().any(same))
        };
        let new = Self {
            name,
            service,
            listens: service.listen.iter().filter(|listen| !had_listen(listen)).collect(),
            instances: service.instances.iter().filter(|instance| !had_instance(instance)).collect(),
        };
        (!new.listens.is_empty() || !new.instances.is_empty()).then_some(new)
    }

    fn is_on(&self, engine: EngineKind) -> bool {
        self.service.engine == engine
    }

    fn conflict(&self, kind: Kind, what: String, owner: String) -> Conflict {
        Conflict { service: self.name.clone(), kind, what, owner }
    }
}

/// Looks for what is in the way of what a change brings, and changes nothing. Returns what to warn of.
pub fn check(netns: &Netns, before: &Wanted, after: &Wanted, ask: Ask) -> Result<Vec<String>, Conflicts> {
    let of = |(name, service)| Newcomer::of(before, name, service);
    let newcomers: Vec<Newcomer<'_>> = after.services.iter().filter_map(of).collect();
    let mut report = Report::default();
    if newcomers.is_empty() {
        return Ok(Vec::new());
    }
    shared::look(&newcomers, after, &mut report);
    listeners::look(&newcomers, &mut report);
    ephemeral::look(&newcomers, &mut report);
    if newcomers.iter().any(|new| !new.listens.is_empty()) {
        programs::look(&newcomers, netns, &mut report);
        filters::look(&newcomers, netns, &mut report);
        marks::look(&newcomers, &mut report);
        rules::look(&newcomers, &mut report);
    }
    let Report { conflicts, notes, unread } = report;
    if !conflicts.is_empty() && !ask.force {
        return Err(Conflicts(conflicts));
    }
    let overridden = conflicts.iter().map(|conflict| format!("in spite of a conflict: {conflict}"));
    let unread = unread.into_iter().filter(|_| ask.verbose);
    Ok(overridden.chain(notes).chain(unread).collect())
}

#[cfg(test)]
mod tests {
    use super::{Ask, Kind, Newcomer, Report, shared};
    use crate::{
        model::{EngineKind, Options, Wanted},
        plan::Change,
    };

    fn attach(wanted: &mut Wanted, line: &str) {
        let mut words = line.split(' ');
        let name = words.next().unwrap().parse().unwrap();
        let (listen, instances) = words.partition::<Vec<_>, _>(|word| word.contains('/'));
        let change = Change::Attach {
            name,
            listen: listen.iter().map(|word| word.parse().unwrap()).collect(),
            instances: instances.iter().map(|word| word.parse().unwrap()).collect(),
            options: Options::default(),
            engine: EngineKind::Ebpf,
            engine_reason: None,
            force: true,
        };
        change.apply(wanted).unwrap();
    }

    fn shared_with(line: &str) -> Vec<String> {
        let mut before = Wanted::empty(None);
        attach(&mut before, "web 80/tcp 8001 127.0.0.1:8002");
        let mut after = before.clone();
        attach(&mut after, line);
        let of = |(name, service)| Newcomer::of(&before, name, service);
        let newcomers: Vec<_> = after.services.iter().filter_map(of).collect();
        let mut report = Report::default();
        shared::look(&newcomers, &after, &mut report);
        assert!(report.conflicts.iter().all(|conflict| conflict.kind == Kind::SharedInstance));
        report.conflicts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn instances_of_two_services_are_named() {
        assert_eq!(shared_with("api 81/tcp 127.0.0.1:8001 8002").len(), 2);
        assert_eq!(shared_with("api 81/tcp 8003 127.0.0.2:8002"), [""; 0]);
        assert_eq!(shared_with("dns 53/udp 8001"), [""; 0]);
        assert!(shared_with("api 81/tcp 8001")[0].contains("service `web`"));
    }

    #[test]
    fn what_a_service_has_already_is_not_looked_at_again() {
        assert_eq!(shared_with("web 80/tcp 8001 127.0.0.1:8002"), [""; 0]);
        let mut wanted = Wanted::empty(None);
        attach(&mut wanted, "web 80/tcp 8001");
        let netns = crate::sys::netns::Netns::enter(None).unwrap();
        assert_eq!(
            super::check(&netns, &wanted, &wanted, Ask { force: false, verbose: true }),
            Ok(Vec::new())
        );
    }
}
