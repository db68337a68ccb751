//! Two services with the same instance: their weights and limits know nothing of one another.

use std::collections::BTreeSet;

use super::{Kind, Newcomer, Report};
use crate::model::{Instance, Name, Protocol, Service, Wanted};

pub(super) fn look(newcomers: &[Newcomer<'_>], after: &Wanted, report: &mut Report) {
    for new in newcomers {
        let others =
            after.services.iter().filter(|(name, other)| *name != new.name && speaks_as(new.service, other));
        for (name, other) in others.filter(|(name, _)| !is_told(newcomers, new, name)) {
            for instance in &new.instances {
                let theirs = other.instances.iter().find(|theirs| is_same(instance, theirs));
                report.conflicts.extend(theirs.map(|theirs| {
                    let what = format!(
                        "instance {} is also instance {} of another service",
                        instance.spec, theirs.spec
                    );
                    new.conflict(Kind::SharedInstance, what, format!("service `{name}`"))
                }));
            }
        }
    }
}

/// Of two services that both are new, the first by name tells.
fn is_told(newcomers: &[Newcomer<'_>], new: &Newcomer<'_>, other: &Name) -> bool {
    other < new.name
        && newcomers.iter().any(|newcomer| newcomer.name == other && !newcomer.instances.is_empty())
}

/// A daemon for TCP and one for UDP may have the same port.
fn speaks_as(service: &Service, other: &Service) -> bool {
    let protocols = |service: &Service| {
        service.listen.iter().map(|listen| listen.protocol).collect::<BTreeSet<Protocol>>()
    };
    !protocols(service).is_disjoint(&protocols(other))
}

fn is_same(one: &Instance, other: &Instance) -> bool {
    let addresses = one.spec.address.zip(other.spec.address);
    one.spec.port == other.spec.port && addresses.is_none_or(|(one, other)| one == other)
}
