//! Routing rules that look at the bits of the packet mark in which the iptables engine keeps its picks.

use super::{Kind, Newcomer, Report};
use crate::{
    engine::iptables::MASK,
    model::EngineKind,
    sys::rtnetlink::{self, MarkRule},
};

pub(super) fn look(newcomers: &[Newcomer<'_>], report: &mut Report) {
    let concerned: Vec<_> =
        newcomers.iter().filter(|new| new.is_on(EngineKind::Iptables) && !new.listens.is_empty()).collect();
    if concerned.is_empty() {
        return;
    }
    let rules = match rtnetlink::mark_rules() {
        Ok(rules) => rules,
        Err(error) => return report.unread("routing rules", &error),
    };
    for rule in rules.iter().filter(|rule| rule.mask & u32::from(MASK) != 0) {
        let what = format!(
            "routing looks at bits of the packet mark that hold picks: {:#x} of {MASK:#x}",
            rule.mask & u32::from(MASK)
        );
        report
            .conflicts
            .extend(concerned.iter().map(|new| new.conflict(Kind::Mark, what.clone(), describe(rule))));
    }
}

/// As `ip rule` lists it.
fn describe(rule: &MarkRule) -> String {
    let MarkRule { ipv6, priority, mark, mask, table } = rule;
    let family = if *ipv6 { "-6 " } else { "" };
    let mask = if *mask == u32::MAX { String::new() } else { format!("/{mask:#x}") };
    format!("`ip {family}rule` {priority}: fwmark {mark:#x}{mask} lookup {table}")
}
