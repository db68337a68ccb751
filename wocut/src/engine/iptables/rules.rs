//! From services to rule text, for one family. Pure: what is in the kernel already is `diff`'s business.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::{
    chain::{self, ROOT},
    family::Family,
    mark::MASK,
    pick::{self, Candidate},
    vacant,
};
use crate::model::{Instance, Listen, Name, OnEmpty, Protocol, Service};

/// A chain and all its rules, each without `-A CHAIN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: String,
    pub(super) rules: Vec<String>,
}

/// A service as one family's tables see it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a Name,
    pub(super) service: &'a Service,
    /// By instance id.
    pub(super) marks: BTreeMap<u32, u16>,
}

/// One rule of a service's chain in the nat table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NatRule {
    pub(super) mark: u16,
    pub(super) text: String,
}

/// First rule of a service's chain in the nat table: its counter is the number of picks.
pub(super) const PICKS: &str = "-m comment --comment picks";

/// Second rule: its counter is the number of picks that found no instance.
pub(super) fn unserved() -> String {
    format!("-m mark --mark 0x0/{MASK:#x} -m comment --comment unserved -j RETURN")
}

/// The comment that ties a rule, and so its counter, to one instance.
pub(super) fn comment(instance: u32) -> String {
    format!("instance-{instance}")
}

impl Entry<'_> {
    /// Each with its weight now.
    fn instances(&self, family: Family) -> impl Iterator<Item = (&Instance, u16)> {
        let weighted = self.service.instances.iter().zip(self.service.weights());
        weighted.filter(move |(instance, _)| family.reaches(instance))
    }

    /// Those that take connections, and those that may come back.
    fn candidates(&self, family: Family) -> Vec<Candidate> {
        let candidate = |(instance, weight): (&Instance, u16)| {
            // A process that is drained does not come back.
            let usual = if instance.backup || instance.process.is_some() {
                0
            } else {
                instance.spec.weight.get() * self.service.unit()
            };
            Some(Candidate {
                mark: *self.marks.get(&instance.id)?,
                weight: if weight > 0 { weight } else { usual },
                identity: identity(instance),
                is_eligible: weight > 0,
            })
        };
        self.instances(family).filter_map(candidate).filter(|candidate| candidate.weight > 0).collect()
    }

    /// What becomes of new connections, if no instance can take them and they are not to pass.
    fn turned_away(&self, family: Family, protocol: Protocol) -> Option<&'static str> {
        if self.instances(family).any(|(_, weight)| weight > 0) {
            return None;
        }
        match self.service.options.on_empty {
            OnEmpty::Pass => None,
            OnEmpty::Drop => Some("DROP"),
            OnEmpty::Reject => Some(refusal(protocol, family)),
        }
    }
}

/// The same place is the same to every service and after every restart, and so is the same number of a worker.
fn identity(instance: &Instance) -> u64 {
    let mut hasher = DefaultHasher::new();
    match instance.worker {
        Some(worker) => worker.hash(&mut hasher),
        None => (instance.spec.address, instance.spec.port).hash(&mut hasher),
    }
    hasher.finish()
}

/// The mangle table's chains: dispatch, then picks.
///
/// A connection is picked for once: a client that sends its first packet again, or more before it is answered, is known
/// to conntrack by then, and has no second turn.
pub(super) fn mangle(family: Family, entries: &[Entry<'_>]) -> Vec<Chain> {
    let rules = listens(family, entries)
        .map(|(entry, listen)| {
            let new = "-m conntrack --ctstate NEW ! --ctstatus CONFIRMED";
            format!("{} {new} -g {}", matches(family, listen), chain::of(entry.name))
        })
        .collect();
    let picks = entries
        .iter()
        .flat_map(|entry| pick::chains(family, entry.name, entry.service.options, &entry.candidates(family)));
    with_root(rules, picks)
}

/// The nat table's dispatch.
pub(super) fn nat_root(family: Family, entries: &[Entry<'_>]) -> Vec<String> {
    listens(family, entries)
        .map(|(entry, listen)| format!("{} -g {}", matches(family, listen), chain::of(entry.name)))
        .collect()
}

/// The rules of a service in the nat table, which lead from a mark to an instance. An instance that takes no new
/// connections has its rule all the same, for the sake of its counter.
pub(super) fn nat(family: Family, entry: &Entry<'_>) -> Vec<NatRule> {
    let protocols: BTreeSet<Protocol> = family.listens(entry.service).map(|listen| listen.protocol).collect();
    let mut rules = Vec::new();
    for (instance, _) in entry.instances(family) {
        let Some(mark) = entry.marks.get(&instance.id).copied() else { continue };
        for protocol in &protocols {
            let matches =
                format!("-m mark --mark {mark:#x}/{MASK:#x} -m comment --comment {}", comment(instance.id));
            let texts = translations(*protocol, instance).into_iter().map(|(interface, target)| NatRule {
                mark,
                text: format!("{interface}-p {protocol} {matches} -j {target}"),
            });
            rules.extend(texts);
        }
    }
    rules
}

/// How a packet gets to an instance: a match on the outgoing interface, and the target.
fn translations(protocol: Protocol, instance: &Instance) -> Vec<(&'static str, String)> {
    let port = instance.spec.port;
    let redirect = format!("REDIRECT --to-ports {port}");
    match (instance.spec.address, protocol) {
        (Some(address), _) => {
            vec![("", format!("DNAT --to-destination {}", std::net::SocketAddr::new(address, port)))]
        }
        (None, Protocol::Tcp) => vec![("", redirect)],
        // Locally, REDIRECT leads to 127.0.0.1, and a UDP daemon that is bound to every address would answer a client
        // from the address that it was asked from, which is another: conntrack would not know the answer.
        (None, Protocol::Udp) => {
            vec![("-o lo ", format!("DNAT --to-destination :{port}")), ("! -o lo ", redirect)]
        }
    }
}

/// What the filter table does before it looks at services.
#[derive(Debug, Default)]
pub(super) struct Doors {
    /// [`super::vacant`]
    pub(super) vacant: Option<Chain>,
    /// [`super::guard`]
    pub(super) guard: Vec<String>,
}

/// The filter table's chains: who would find nobody, what `guard` refuses, and what is turned away because no instance can
/// take it; no chain at all if that is nothing.
pub(super) fn filter(family: Family, doors: &Doors, entries: &[Entry<'_>]) -> Vec<Chain> {
    let away = |entry: &Entry<'_>, listen: &Listen| entry.turned_away(family, listen.protocol);
    let concerned: BTreeSet<(Protocol, u16)> = listens(family, entries)
        .filter(|(entry, listen)| away(entry, listen).is_some())
        .map(|(_, listen)| (listen.protocol, listen.port))
        .collect();
    let turned_away = listens(family, entries)
        .filter(|(_, listen)| concerned.contains(&(listen.protocol, listen.port)))
        .map(|(entry, listen)| {
            let target = away(entry, listen).unwrap_or("RETURN");
            format!("{} -m conntrack --ctstate NEW -j {target}", matches(family, listen))
        });
    let vacant = doors.vacant.iter().map(|_| vacant::entrance());
    with_root(vacant.chain(doors.guard.iter().cloned()).chain(turned_away).collect(), doors.vacant.clone())
}

/// The target that refuses in so many words.
pub(super) fn refusal(protocol: Protocol, family: Family) -> &'static str {
    match (protocol, family) {
        (Protocol::Tcp, _) => "REJECT --reject-with tcp-reset",
        (Protocol::Udp, Family::V4) => "REJECT --reject-with icmp-port-unreachable",
        (Protocol::Udp, Family::V6) => "REJECT --reject-with icmp6-port-unreachable",
    }
}

fn with_root(rules: Vec<String>, others: impl IntoIterator<Item = Chain>) -> Vec<Chain> {
    let root = Chain { name: ROOT.into(), rules };
    std::iter::once(root)
        .chain(others)
        .filter(|chain| chain.name != ROOT || !chain.rules.is_empty())
        .collect()
}

/// All LISTENs of one family, those with an address before those for every address: the first that matches wins.
fn listens<'a>(
    family: Family,
    entries: &'a [Entry<'a>],
) -> impl Iterator<Item = (&'a Entry<'a>, &'a Listen)> {
    let mut all: Vec<_> = entries
        .iter()
        .flat_map(|entry| family.listens(entry.service).map(move |listen| (entry, listen)))
        .collect();
    all.sort_by_key(|(_, listen)| is_wildcard(listen));
    all.into_iter()
}

fn is_wildcard(listen: &Listen) -> bool {
    listen.address.is_none_or(|address| address.is_unspecified())
}

/// What the first packet to a LISTEN looks like. `LOCAL`: what this host only forwards is none of our business. SYN:
/// conntrack takes the next packet of a connection that is older than its own start for the first one of a new one.
fn matches(family: Family, listen: &Listen) -> String {
    let address = listen.address.filter(|address| !address.is_unspecified());
    let destination = address.map_or_else(String::new, |address| family.destination(address));
    let Listen { protocol, port, .. } = listen;
    let first = match protocol {
        Protocol::Tcp => " --tcp-flags FIN,SYN,RST,ACK SYN",
        Protocol::Udp => "",
    };
    format!("{destination}-p {protocol} -m {protocol} --dport {port}{first} -m addrtype --dst-type LOCAL")
}
