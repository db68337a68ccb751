//! Packet filter rules of any kind, and a walk through them with the traffic of a service. Pure.

use std::collections::BTreeMap;

use super::traffic::{Condition, Meets, Traffic, all_met};

/// How deep chains lead into one another: the kernel's own limit.
const DEEPEST: usize = 16;
/// How many rules a walk looks at, at most: a host may have very many.
const LONGEST: usize = 20_000;

/// Where in the kernel a chain begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Prerouting,
    Input,
    Output,
    Postrouting,
}

/// What a rule does to what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Goes on to the next rule.
    Nothing,
    /// Gives the connection to another port or address, or to a socket.
    Translate,
    Accept,
    /// Drops or refuses it.
    Refuse,
    /// Goes back to the chain before.
    Return,
    /// Sets these bits of the mark.
    Mark(u32),
    Jump(String),
    Goto(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
    /// As people know it.
    pub(super) text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

/// A table of one tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// As people know it: `iptables table nat`.
    pub(super) label: String,
    pub(super) chains: BTreeMap<String, Chain>,
}

/// What traffic meets on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Met<'a> {
    pub(super) table: &'a str,
    /// The chains on the way, the last of which holds the rule.
    pub(super) chains: Vec<&'a str>,
    pub(super) rule: &'a Rule,
    /// One of the rules on the way named the port.
    pub(super) names_port: bool,
}

/// What becomes of traffic at the end of a chain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    GoesOn,
    Ends,
}

impl Table {
    /// The rules that traffic meets, or may meet, coming from a hook.
    pub(super) fn walk<'a>(&'a self, hook: Hook, traffic: &Traffic) -> Vec<Met<'a>> {
        let mut walk = Walk { table: self, traffic, met: Vec::new(), steps: 0 };
        for (name, chain) in self.chains.iter().filter(|(_, chain)| chain.hook == Some(hook)) {
            walk.chain(chain, &mut vec![name.as_str()], false);
        }
        walk.met
    }
}

struct Walk<'a, 'b> {
    table: &'a Table,
    traffic: &'b Traffic,
    met: Vec<Met<'a>>,
    steps: usize,
}

impl<'a> Walk<'a, '_> {
    fn chain(&mut self, chain: &'a Chain, path: &mut Vec<&'a str>, names_port: bool) -> After {
        for rule in &chain.rules {
            self.steps += 1;
            let meets = all_met(&rule.conditions, self.traffic);
            if self.steps > LONGEST || meets == Meets::Never {
                continue;
            }
            let names_port = names_port || rule.conditions.iter().any(Condition::names_port);
            self.met.push(Met { table: &self.table.label, chains: path.clone(), rule, names_port });
            let always = meets == Meets::Always;
            let after = match &rule.action {
                Action::Return if always => return After::GoesOn,
                Action::Goto(target) if always => return self.jump(target, path, names_port),
                Action::Jump(target) | Action::Goto(target) => self.jump(target, path, names_port),
                Action::Translate | Action::Accept | Action::Refuse => After::Ends,
                Action::Nothing | Action::Mark(_) | Action::Return => After::GoesOn,
            };
            if always && after == After::Ends {
                return After::Ends;
            }
        }
        After::GoesOn
    }

    fn jump(&mut self, target: &str, path: &mut Vec<&'a str>, names_port: bool) -> After {
        let Some((name, chain)) = self.table.chains.get_key_value(target) else { return After::GoesOn };
        if path.len() > DEEPEST {
            return After::GoesOn;
        }
        path.push(name);
        let after = self.chain(chain, path, names_port);
        path.pop();
        after
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Chain, Condition, Hook, Rule, Table, Traffic};

    type Rules<'a> = &'a [(Option<u16>, Action)];

    fn table(chains: &[(&str, Option<Hook>, Rules<'_>)]) -> Table {
        let rule = |(port, action): &(Option<u16>, Action)| Rule {
            conditions: port.map(|port| Condition::Port(vec![(port, port)])).into_iter().collect(),
            action: action.clone(),
            text: String::new(),
        };
        let chain = |hook, rules: &[_]| Chain { hook, rules: rules.iter().map(rule).collect() };
        let chains = chains.iter().map(|(name, hook, rules)| ((*name).to_owned(), chain(*hook, rules)));
        Table { label: "nat".into(), chains: chains.collect() }
    }

    fn translations(table: &Table) -> Vec<Vec<&str>> {
        let traffic = Traffic::to(&"0.0.0.0:80/tcp".parse().unwrap(), &[]).remove(0);
        let met = table.walk(Hook::Prerouting, &traffic);
        met.into_iter().filter(|met| met.rule.action == Action::Translate).map(|met| met.chains).collect()
    }

    #[test]
    fn a_rule_is_met_where_chains_lead_to_it() {
        let jump = |to: &str| Action::Jump(to.into());
        let table = table(&[
            ("PREROUTING", Some(Hook::Prerouting), &[(Some(81), jump("B")), (None, jump("A"))]),
            ("A", None, &[(Some(443), Action::Translate), (Some(80), Action::Translate)]),
            ("B", None, &[(None, Action::Translate)]),
        ]);
        assert_eq!(translations(&table), [["PREROUTING", "A"]]);
    }

    #[test]
    fn what_comes_after_an_end_is_not_met() {
        for action in [Action::Accept, Action::Return, Action::Goto("A".into())] {
            let table = table(&[
                ("PREROUTING", Some(Hook::Prerouting), &[(Some(80), action), (None, Action::Translate)]),
                ("A", None, &[(None, Action::Accept)]),
            ]);
            assert!(translations(&table).is_empty());
        }
    }

    #[test]
    fn a_circle_ends() {
        let table = table(&[("A", Some(Hook::Prerouting), &[(None, Action::Jump("A".into()))])]);
        assert!(translations(&table).is_empty());
    }
}
