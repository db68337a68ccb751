//! Packet filter rules, of iptables of both kinds and of nft: those that take the service port first, those that
//! refuse it, and those that use the bits of the packet mark in which the iptables engine keeps its picks.
//!
//! A translation in `PREROUTING` comes before a listener is looked up, so it takes the port from either engine. Tools
//! are run only where the kernel says that there are tables to show.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs, io, thread,
};

use super::{
    Kind, Newcomer, Report, iptables, nft, owner,
    ruleset::{Action, Hook, Met, Rule, Table},
    traffic::{Condition, Traffic},
};
use crate::{
    engine::iptables::MASK,
    model::EngineKind,
    sys::{
        netlink::{AF_INET, AF_INET6},
        rtnetlink, tool,
    },
};

pub(super) fn look(newcomers: &[Newcomer<'_>], report: &mut Report) {
    let tables = read(report);
    if tables.is_empty() {
        return;
    }
    let host = rtnetlink::addresses().unwrap_or_else(|error| {
        report.unread("addresses of this host", &error);
        Vec::new()
    });
    for new in newcomers {
        for listen in &new.listens {
            let traffic = Traffic::to(listen, &host);
            for met in met(&tables, &[Hook::Prerouting, Hook::Output], &traffic) {
                if met.rule.action == Action::Translate {
                    let what = format!("a rule leads {listen} elsewhere first: `{}`", met.rule.text);
                    report.conflicts.push(new.conflict(Kind::Rule, what, owned(&met)));
                }
            }
            let arriving = arriving(new, traffic.clone());
            let on_its_way = met(&tables, &[Hook::Prerouting], &traffic);
            for met in on_its_way.into_iter().chain(met(&tables, &[Hook::Input], &arriving)) {
                if met.rule.action == Action::Refuse && met.names_port && !is_ban(met.rule) {
                    let note = format!("{}: {} refuses clients: `{}`", new.name, owned(&met), met.rule.text);
                    if !report.notes.contains(&note) {
                        report.notes.push(note);
                    }
                }
            }
        }
        if new.is_on(EngineKind::Iptables) && !new.listens.is_empty() {
            marks(new, &tables, &host, report);
        }
    }
}

/// As it arrives at the host: on iptables, the port is translated by then.
fn arriving(new: &Newcomer<'_>, mut traffic: Vec<Traffic>) -> Vec<Traffic> {
    if new.is_on(EngineKind::Ebpf) {
        return traffic;
    }
    for one in &mut traffic {
        one.ports.clear();
    }
    with_instances(new, traffic)
}

/// Whether it refuses only those whom somebody wanted to be refused.
fn is_ban(rule: &Rule) -> bool {
    let is_source = |condition: &Condition| match condition {
        Condition::Source => true,
        Condition::Any(choices) => choices.iter().flatten().any(|one| *one == Condition::Source),
        _ => false,
    };
    rule.conditions.iter().any(is_source)
}

fn with_instances(new: &Newcomer<'_>, mut traffic: Vec<Traffic>) -> Vec<Traffic> {
    for one in &mut traffic {
        one.ports.extend(new.service.instances.iter().map(|instance| instance.spec.port));
    }
    traffic
}

/// One conflict for each owner of rules that use the mark.
fn marks(new: &Newcomer<'_>, tables: &[Table], host: &[std::net::IpAddr], report: &mut Report) {
    let traffic = new.listens.iter().flat_map(|listen| with_instances(new, Traffic::to(listen, host)));
    let hooks = [Hook::Prerouting, Hook::Input, Hook::Output, Hook::Postrouting];
    let mut users: BTreeMap<String, (u32, &str, usize)> = BTreeMap::new();
    for met in met(tables, &hooks, &traffic.collect::<Vec<_>>()) {
        let set = if let Action::Mark(bits) = met.rule.action { bits } else { 0 };
        let looked_at =
            met.rule.conditions.iter().fold(0, |bits, condition| bits | Condition::mark_bits(condition));
        let bits = (set | looked_at) & u32::from(MASK);
        if bits != 0 {
            let user = users.entry(owned(&met)).or_insert((0, &met.rule.text, 0));
            (user.0, user.2) = (user.0 | bits, user.2 + 1);
        }
    }
    for (owner, (bits, text, count)) in users {
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let what = format!(
            "a rule uses bits of the packet mark that hold picks, {bits:#x} of {MASK:#x}: `{text}`{more}"
        );
        report.conflicts.push(new.conflict(Kind::Mark, what, owner));
    }
}

/// Every rule that any of the traffic meets, once.
fn met<'a>(tables: &'a [Table], hooks: &[Hook], traffic: &[Traffic]) -> Vec<Met<'a>> {
    let mut found: Vec<Met<'a>> = Vec::new();
    // A host may have very many rules, which are told apart by where they are.
    let mut places: BTreeMap<*const Rule, usize> = BTreeMap::new();
    let walks = tables.iter().flat_map(|table| {
        hooks.iter().flat_map(move |hook| traffic.iter().flat_map(move |one| table.walk(*hook, one)))
    });
    for met in walks {
        match places.entry(std::ptr::from_ref(met.rule)) {
            Entry::Occupied(place) => found[*place.get()].names_port |= met.names_port,
            Entry::Vacant(free) => {
                free.insert(found.len());
                found.push(met);
            }
        }
    }
    found
}

fn owned(met: &Met<'_>) -> String {
    owner::name(met.table, &met.chains)
}

/// All tables that there are.
fn read(report: &mut Report) -> Vec<Table> {
    let mut tables = Vec::new();
    let in_nft = rtnetlink::nft_tables().unwrap_or_else(|error| {
        // A kernel without nftables has no tables there.
        if error.raw_os_error() == Some(libc::EPERM) {
            report.unread("tables of nftables", &error);
        }
        Vec::new()
    });
    let of_iptables =
        |family| in_nft.iter().any(|table| table.family == family && table.is_named_as_by_iptables());
    let only_nft = in_nft.iter().any(|table| !table.is_named_as_by_iptables());
    let (v4, v6) = (of_iptables(AF_INET), of_iptables(AF_INET6));
    let (old_v4, old_v6) = (has_legacy("ip", report), has_legacy("ip6", report));
    let save = |wanted: bool, tools: &'static [&'static str]| {
        move || if wanted { tool::read(tools, &[]) } else { Ok(None) }
    };
    let list = || tool::read(&["nft"], &["-j", "list", "ruleset"]);

    let (saved, listed) = thread::scope(|scope| {
        // A thread is in the network namespace of the one that started it.
        let threads = [
            (false, v4, scope.spawn(save(v4, &["iptables-nft-save", "iptables-save"]))),
            (true, v6, scope.spawn(save(v6, &["ip6tables-nft-save", "ip6tables-save"]))),
            (false, old_v4, scope.spawn(save(old_v4, &["iptables-legacy-save", "iptables-save"]))),
            (true, old_v6, scope.spawn(save(old_v6, &["ip6tables-legacy-save", "ip6tables-save"]))),
        ];
        let listed = only_nft.then(list);
        let saved = threads.map(|(ipv6, wanted, thread)| {
            (ipv6, wanted, thread.join().unwrap_or_else(|_| Err(io::Error::other("the reader ended early"))))
        });
        (saved, listed)
    });

    let mut hidden: Vec<(&str, String)> = Vec::new();
    for (ipv6, wanted, saved) in saved {
        match saved {
            Ok(Some(text)) => {
                let family = if ipv6 { "ip6" } else { "ip" };
                hidden.extend(iptables::hidden(&text).map(|name| (family, name.to_owned())));
                for table in iptables::parse(&text, ipv6) {
                    if !tables.contains(&table) {
                        tables.push(table);
                    }
                }
            }
            // Tables with the names of iptables' and no iptables: `nft` made them.
            Ok(None) if wanted => hidden.extend(
                in_nft
                    .iter()
                    .map(|table| (if table.family == AF_INET6 { "ip6" } else { "ip" }, table.name.clone())),
            ),
            Ok(None) => {}
            Err(error) => report.unread("rules of iptables", &error),
        }
    }
    let listed = listed.or_else(|| (!hidden.is_empty()).then(list));
    match listed {
        Some(Ok(Some(text))) => {
            let is_shown = |family: &str, name: &str| {
                let named = ["filter", "nat", "mangle", "raw", "security"].contains(&name);
                named && ["ip", "ip6"].contains(&family) && !hidden.contains(&(family, name.to_owned()))
            };
            match nft::parse(&text, |family, name| !is_shown(family, name)) {
                Ok(found) => tables.extend(found),
                Err(error) => report.unread("tables of nftables", &error),
            }
        }
        Some(Ok(None)) => {
            report.unread("tables of nftables", &"`nft` is not in PATH; it comes with nftables");
        }
        Some(Err(error)) => report.unread("tables of nftables", &error),
        None => {}
    }
    tables
}

/// Whether there are tables of the iptables of old. To look does not make them.
fn has_legacy(family: &str, report: &mut Report) -> bool {
    let path = format!("/proc/net/{family}_tables_names");
    match fs::read_to_string(&path) {
        Ok(names) => !names.trim().is_empty(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            report.unread(&path, &error);
            false
        }
    }
}
