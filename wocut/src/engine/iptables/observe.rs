//! What the rules say has happened.
//!
//! Only the first packet of a connection goes through the nat table, so a rule's packet counter there counts
//! connections.

use std::collections::BTreeMap;

use super::{
    chain, rule,
    rules::comment,
    save::{Rule, Saved},
};
use crate::{
    engine::{ObservedInstance, ObservedService},
    model::{Instance, Name, Service},
};

/// The figures of one service, from the tables of every family.
pub(super) fn service(all: &[Saved], name: &Name, service: &Service) -> ObservedService {
    let rules: Vec<(Option<String>, u64)> = all
        .iter()
        .flat_map(|saved| nat_rules(saved, name))
        .map(|rule| (rule::value(&rule::words(&rule.text), &["--comment"]).map(Into::into), rule.packets))
        .collect();
    let count = |wanted: &str| {
        let matching = rules.iter().filter(|(comment, _)| comment.as_deref() == Some(wanted));
        matching.map(|(_, packets)| *packets).reduce(|a, b| a + b)
    };
    ObservedService {
        hook: None,
        picks: count("picks"),
        unserved: count("unserved"),
        instances: service.instances.iter().map(|i| instance(i, count(&comment(i.id)))).collect(),
    }
}

fn instance(wanted: &Instance, picked: Option<u64>) -> ObservedInstance {
    let missing = wanted.is_eligible() && picked.is_none();
    ObservedInstance {
        picked,
        connections: picked,
        refused: missing
            .then(|| "it has no rule in the nat table; any change made with wocut puts it back".into()),
        ..ObservedInstance::default()
    }
}

/// The marks that the instances of a service have, by id.
pub(super) fn marks(saved: &Saved, name: &Name) -> BTreeMap<u32, u16> {
    nat_rules(saved, name).filter_map(mark).collect()
}

fn mark(rule: &Rule) -> Option<(u32, u16)> {
    let words = rule::words(&rule.text);
    let id = rule::value(&words, &["--comment"])?.strip_prefix("instance-")?.parse().ok()?;
    let (mark, _mask) = rule::value(&words, &["--mark"])?.split_once('/')?;
    Some((id, u16::from_str_radix(mark.strip_prefix("0x")?, 16).ok()?))
}

fn nat_rules<'a>(saved: &'a Saved, name: &'a Name) -> impl Iterator<Item = &'a Rule> {
    let chains = saved.table("nat").into_iter().flat_map(|table| &table.chains);
    chains.filter(move |(chain, _)| chain::is_of(chain, name)).flat_map(|(_, rules)| rules)
}
