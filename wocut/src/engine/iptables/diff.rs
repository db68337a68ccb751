//! From what the tables hold to what they should hold: the input of one `iptables-restore --noflush`.
//!
//! A chain is replaced whole where its counters mean nothing. The services' chains in the nat table are edited rule
//! by rule, by the text of the rule, because each counter in them is a figure that somebody reads.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    chain::{self, ROOT},
    family::Family,
    pick::FLAT,
    rule::{self, normal},
    rules::{self, Chain, Doors, Entry, NatRule},
    save::{Saved, Table},
};

/// Bits of the mark that choose the part of a service's chain.
const PART_MASK: u16 = 0xf;

/// Where a table's jumps to [`ROOT`] stand.
struct Hooks {
    chains: &'static [&'static str],
    /// `-A` or `-I`.
    how: &'static str,
}

/// Last: other tools restore marks of their own in this table, over the whole width.
const MANGLE: Hooks = Hooks { chains: &["PREROUTING", "OUTPUT"], how: "-A" };
/// First: only the first rule to translate a connection does.
const NAT: Hooks = Hooks { chains: &["PREROUTING", "OUTPUT"], how: "-I" };
/// First: a firewall behind it may accept what is to be refused.
const FILTER: Hooks = Hooks { chains: &["INPUT"], how: "-I" };

/// Restore input in two halves, each a section for each change of a table; empty if all is as wanted.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Input {
    /// Up to the new picks.
    pub(super) first: String,
    /// What no pick needs any more goes, and what decides on connections that found no instance comes.
    pub(super) last: String,
}

/// What makes the tables as wanted.
///
/// Each table changes in one step. What a mark leads to is there before the mark is set, and goes after it.
pub(super) fn input(family: Family, saved: &Saved, entries: &[Entry<'_>], doors: &Doors) -> Input {
    let (nat_first, nat_last) = nat(family, saved.table("nat"), entries);
    let mangle = replace(saved.table("mangle"), &rules::mangle(family, entries), &MANGLE);
    let filter = replace(saved.table("filter"), &rules::filter(family, doors, entries), &FILTER);
    Input {
        first: section("nat", &nat_first) + &section("mangle", &mangle),
        last: section("nat", &nat_last) + &section("filter", &filter),
    }
}

fn section(table: &str, lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("*{table}\n{}\nCOMMIT\n", lines.join("\n")) }
}

/// Makes the own chains of a table those wanted, by redeclaring every chain that differs.
fn replace(table: Option<&Table>, wanted: &[Chain], hooks: &Hooks) -> Vec<String> {
    let none = Table::default();
    let table = table.unwrap_or(&none);
    let changed: Vec<&Chain> = wanted.iter().filter(|chain| !holds(table, chain)).collect();
    let mut lines: Vec<String> = changed.iter().map(|chain| declare(&chain.name)).collect();
    for chain in changed {
        lines.extend(chain.rules.iter().map(|rule| format!("-A {} {rule}", chain.name)));
    }
    let keep: BTreeSet<&str> = wanted.iter().map(|chain| chain.name.as_str()).collect();
    lines.extend(add_jumps(table, &keep, hooks));
    lines.extend(clear(table, &keep, hooks));
    lines
}

fn holds(table: &Table, chain: &Chain) -> bool {
    table.chains.get(&chain.name).is_some_and(|rules| {
        rules.iter().map(|rule| normal(&rule.text)).eq(chain.rules.iter().map(|rule| normal(rule)))
    })
}

fn redeclare(chain: &Chain) -> Vec<String> {
    let rules = chain.rules.iter().map(|rule| format!("-A {} {rule}", chain.name));
    std::iter::once(declare(&chain.name)).chain(rules).collect()
}

/// Declaring a chain empties it if it is there.
fn declare(chain: &str) -> String {
    format!(":{chain} - [0:0]")
}

/// A jump for every hook that has none.
fn add_jumps(table: &Table, keep: &BTreeSet<&str>, hooks: &Hooks) -> Vec<String> {
    let has = |hook: &str| table.jumps.iter().any(|jump| jump.chain == hook && is_plain(&jump.text));
    let missing = hooks.chains.iter().filter(|hook| keep.contains(ROOT) && !has(hook));
    missing.map(|hook| format!("{} {hook} -j {ROOT}", hooks.how)).collect()
}

fn is_plain(text: &str) -> bool {
    normal(text) == normal(&format!("-j {ROOT}"))
}

/// Takes away second jumps, whatever leads to a chain that is to go, and that chain.
fn clear(table: &Table, keep: &BTreeSet<&str>, hooks: &Hooks) -> Vec<String> {
    let mut hooked = BTreeSet::new();
    let mut lines = Vec::new();
    for jump in &table.jumps {
        let second = hooks.chains.contains(&jump.chain.as_str())
            && is_plain(&jump.text)
            && !hooked.insert(jump.chain.as_str());
        if second || !keep.contains(jump.target.as_str()) {
            lines.push(format!("-D {} {}", jump.chain, jump.text));
        }
    }
    let stale: Vec<&String> = table.chains.keys().filter(|chain| !keep.contains(chain.as_str())).collect();
    lines.extend(stale.iter().map(|chain| format!("-F {chain}")));
    lines.extend(stale.iter().map(|chain| format!("-X {chain}")));
    lines
}

/// The nat table, in what comes before the mangle table changes and what comes after.
fn nat(family: Family, table: Option<&Table>, entries: &[Entry<'_>]) -> (Vec<String>, Vec<String>) {
    let none = Table::default();
    let table = table.unwrap_or(&none);
    let edits: Vec<Edit> = entries.iter().map(|entry| Edit::new(family, table, entry)).collect();
    let mut keep: BTreeSet<&str> =
        edits.iter().flat_map(|edit| edit.keep.iter().map(String::as_str)).collect();
    let mut first: Vec<String> = edits.iter().flat_map(|edit| &edit.first).cloned().collect();
    let mut last = Vec::new();
    let wanted = Chain { name: ROOT.into(), rules: rules::nat_root(family, entries) };
    if !wanted.rules.is_empty() {
        keep.insert(ROOT);
        let staying = staying(table, &wanted);
        if table.chains.contains_key(ROOT) && !holds(table, &staying) {
            first.extend(redeclare(&staying));
        }
        if wanted != staying || !table.chains.contains_key(ROOT) {
            last.extend(redeclare(&wanted));
        }
        last.extend(add_jumps(table, &keep, &NAT));
    }
    last.extend(edits.iter().flat_map(|edit| &edit.last).cloned());
    last.extend(clear(table, &keep, &NAT));
    (first, last)
}

/// Those of the wanted rules that are there. Only they lead to the services while the mangle table changes, so that no
/// connection without a mark is taken for one that found no instance.
fn staying(table: &Table, wanted: &Chain) -> Chain {
    let there: BTreeSet<String> =
        table.chains.get(&wanted.name).into_iter().flatten().map(|rule| normal(&rule.text)).collect();
    let rules = wanted.rules.iter().filter(|rule| there.contains(&normal(rule))).cloned().collect();
    Chain { name: wanted.name.clone(), rules }
}

/// What is to do in the chains of one service in the nat table.
#[derive(Default)]
struct Edit {
    first: Vec<String>,
    last: Vec<String>,
    /// The chains that stay.
    keep: BTreeSet<String>,
}

impl Edit {
    fn new(family: Family, table: &Table, entry: &Entry<'_>) -> Self {
        let main = chain::of(entry.name);
        let wanted = rules::nat(family, entry);
        let mut edit = Self { keep: BTreeSet::from([main.clone()]), ..Self::default() };
        edit.head(table, &main);
        let (missing, surplus) = edit.compare(table, entry, &main, &wanted);
        edit.add(table, entry, &main, &missing);
        // A chain that holds nothing wanted goes as a whole.
        let surplus = surplus.into_iter().filter(|(name, _)| edit.keep.contains(*name));
        edit.last.extend(surplus.map(|(name, text)| format!("-D {name} {text}")));
        edit.link_parts(table, &main);
        edit
    }

    /// The two rules that count come first.
    fn head(&mut self, table: &Table, main: &str) {
        let unserved = rules::unserved();
        let head = [rules::PICKS, &unserved];
        let Some(rules) = table.chains.get(main) else {
            self.first.push(declare(main));
            self.first.extend(head.map(|rule| format!("-A {main} {rule}")));
            return;
        };
        let start = rules.iter().take(head.len()).map(|rule| normal(&rule.text));
        if start.eq(head.map(normal)) {
            return;
        }
        let misplaced = rules.iter().filter(|rule| is_head(&rule.text));
        self.first.extend(misplaced.map(|rule| format!("-D {main} {}", rule.text)));
        self.first.extend(head.iter().rev().map(|rule| format!("-I {main} {rule}")));
    }

    /// Leaves alone what is as wanted, wherever it stands; returns what is missing, and what is there for nothing.
    fn compare<'r, 't>(
        &mut self,
        table: &'t Table,
        entry: &Entry<'_>,
        main: &str,
        wanted: &'r [NatRule],
    ) -> (Vec<&'r NatRule>, Vec<(&'t str, &'t str)>) {
        let mut missing: BTreeMap<String, (usize, &NatRule)> =
            wanted.iter().enumerate().map(|(i, rule)| (normal(&rule.text), (i, rule))).collect();
        let mut surplus = Vec::new();
        for (name, rules) in table.chains.iter().filter(|(name, _)| chain::is_of(name, entry.name)) {
            for rule in rules.iter().filter(|rule| !is_head(&rule.text)) {
                if missing.remove(&normal(&rule.text)).is_some() {
                    self.keep.insert(name.clone());
                } else if name != main || !leads_to_part(&rule.text) {
                    surplus.push((name.as_str(), rule.text.as_str()));
                }
            }
        }
        let mut missing: Vec<_> = missing.into_values().collect();
        missing.sort_by_key(|(i, _)| *i);
        (missing.into_iter().map(|(_, rule)| rule).collect(), surplus)
    }

    fn add(&mut self, table: &Table, entry: &Entry<'_>, main: &str, missing: &[&NatRule]) {
        let many = entry.marks.len() > FLAT;
        for rule in missing {
            let part = many.then(|| chain::part(entry.name, &format!("{:x}", rule.mark & PART_MASK)));
            let name = part.as_deref().unwrap_or(main);
            if self.keep.insert(name.into()) && !table.chains.contains_key(name) {
                self.first.push(declare(name));
            }
            self.first.push(format!("-A {name} {}", rule.text));
        }
    }

    /// Leads from the service's chain to each of its parts that is in use, once.
    fn link_parts(&mut self, table: &Table, main: &str) {
        let parts = self.keep.iter().filter(|name| *name != main);
        let mut missing: BTreeMap<String, String> =
            parts.map(|part| link(part)).map(|l| (normal(&l), l)).collect();
        let rules = table.chains.get(main).map_or(&[][..], Vec::as_slice);
        for rule in rules.iter().filter(|rule| leads_to_part(&rule.text)) {
            if missing.remove(&normal(&rule.text)).is_none() {
                self.last.push(format!("-D {main} {}", rule.text));
            }
        }
        self.first.extend(missing.into_values().map(|text| format!("-A {main} {text}")));
    }
}

/// The rule that leads to a part: the last character of its name is the number that the mark's last bits make. What
/// finds no rule there comes back: the rule may be older than the part, and stand in the service's own chain.
fn link(part: &str) -> String {
    let digit = part.chars().next_back().and_then(|c| c.to_digit(16)).unwrap_or_default();
    format!("-m mark --mark {digit:#x}/{PART_MASK:#x} -j {part}")
}

fn is_head(text: &str) -> bool {
    let text = normal(text);
    text == normal(rules::PICKS) || text == normal(&rules::unserved())
}

fn leads_to_part(text: &str) -> bool {
    rule::target(&rule::words(text)).is_some_and(chain::is_own)
}
