//! Other tools' programs and filters on interfaces: they see a packet before wocut's, or instead of it.

use std::{collections::BTreeSet, io};

use super::{Kind, Newcomer, Report, programs};
use crate::{
    engine::ebpf::Ebpf,
    model::{EngineKind, HookChoice, OnEmpty, Options, Protocol, Service},
    sys::{
        bpf::{self, Hook},
        netns::Netns,
        rtnetlink::{self, Direction, Filter, Interface},
    },
};

pub(super) fn look(newcomers: &[Newcomer<'_>], netns: &Netns, report: &mut Report) {
    let concerned: Vec<_> =
        newcomers.iter().filter(|new| !new.listens.is_empty() && is_on_tc(new.service)).collect();
    if concerned.is_empty() {
        return;
    }
    let interfaces = match rtnetlink::interfaces() {
        Ok(interfaces) => interfaces,
        Err(error) => return report.unread("filters of interfaces", &error),
    };
    let own = programs::own(Ebpf::new(netns).pins());
    for interface in interfaces {
        for direction in Direction::ALL {
            match on(&interface, direction, &own) {
                Ok(owners) => {
                    let what = format!(
                        "something else may take or change packets on {} {direction}",
                        interface.name
                    );
                    let conflicts = owners.into_iter().flat_map(|owner| {
                        concerned
                            .iter()
                            .map(|new| new.conflict(Kind::TcFilter, what.clone(), owner.clone()))
                            .collect::<Vec<_>>()
                    });
                    report.conflicts.extend(conflicts);
                }
                Err(error) => report.unread(&format!("filters of {}", interface.name), &error),
            }
        }
    }
}

/// Whether any of its packets meet a program on an interface.
fn is_on_tc(service: &Service) -> bool {
    let udp = service.listen.iter().any(|listen| listen.protocol == Protocol::Udp);
    let Options { hook, on_empty, .. } = service.options;
    // An MPTCP listener, which also brings a service there, is found only when it is registered.
    let tc = hook == HookChoice::Tc || hook == HookChoice::Auto && on_empty == OnEmpty::Drop;
    service.engine == EngineKind::Ebpf && (udp || tc)
}

fn on(interface: &Interface, direction: Direction, own: &BTreeSet<u32>) -> io::Result<Vec<String>> {
    let hook = match direction {
        Direction::Ingress => Hook::TcxIngress(interface.index),
        Direction::Egress => Hook::TcxEgress(interface.index),
    };
    // Before Linux 6.6 there is nothing of this kind.
    let programs = bpf::programs_on(hook).unwrap_or_default();
    let programs =
        programs.into_iter().filter(|id| !own.contains(id)).map(|id| programs::describe("tcx", id));
    let filters = match rtnetlink::filters(interface.index, direction) {
        Ok(filters) => filters,
        // Without the qdisc there are none.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT | libc::EOPNOTSUPP)) =>
        {
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let others = filters.iter().filter(|filter| filter.program.is_none_or(|id| !own.contains(&id)));
    Ok(programs.chain(others.map(describe)).collect())
}

fn describe(filter: &Filter) -> String {
    let Filter { kind, name, program } = filter;
    match (name, program) {
        (Some(name), Some(id)) => format!("tc filter {kind} `{name}`, program id {id}"),
        (Some(name), None) => format!("tc filter {kind} `{name}`"),
        (None, Some(id)) => format!("tc filter {kind}, program id {id}"),
        (None, None) => format!("tc filter {kind}"),
    }
}
