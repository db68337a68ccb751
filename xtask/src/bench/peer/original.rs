//! The rules of the first wocut: a cascade of marks, one rule a port, and one redirect a port.

use std::process::Command;

use anyhow::Result;

use super::{SERVICE, Service, Up, file};
use crate::bench::Bench;
use crate::bench::place::Place;
use crate::command;

/// Which of the kernel's two rule engines it talks to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::bench) enum Backend {
    Legacy,
    Nft,
}

impl Backend {
    pub(in crate::bench) const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        }
    }

    fn program(self) -> String {
        format!("iptables-{}", self.name())
    }
}

/// One `iptables` command of its own: the table, and the rule's words.
struct Rule {
    table: &'static str,
    words: Vec<String>,
}

/// Tables in the order in which its rules come.
const TABLES: [&str; 3] = ["filter", "mangle", "nat"];

/// A mark that nobody may have.
const NEVER: &str = "99999";

fn rules(service: &Service) -> Vec<Rule> {
    let name = "wocut-bench";
    let transport = service.transport.name();
    let rule = |table, text: String, comment: &str| {
        let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        words.extend(["-m".into(), "comment".into(), "--comment".into(), comment.into()]);
        Rule { table, words }
    };
    let never = ["INPUT", "OUTPUT", "FORWARD"].map(|chain| {
        rule("filter", format!("-A {chain} -m mark --mark {NEVER} -j DROP"), "wocut: nevermark")
    });
    let first = service.instances.first().map(|port| {
        let text = format!(
            "-A PREROUTING -p {transport} -m state --state NEW --dport {SERVICE} -j MARK --set-mark {port}"
        );
        rule("mangle", text, &format!("{name}: initialmark"))
    });
    let count = service.instances.len();
    let again = service.instances.windows(2).enumerate().map(|(index, pair)| {
        let (from, to) = (pair[0], pair[1]);
        let chance = probability(count - index);
        let text = format!(
            "-A PREROUTING -p {transport} -m mark --mark {from} -m statistic --mode random --probability {chance} -j MARK --set-mark {to}"
        );
        rule("mangle", text, &format!("{name}: remark for port {to}"))
    });
    let redirects = service.instances.iter().map(|port| {
        let text = format!("-A PREROUTING -p {transport} -m mark --mark {port} -j REDIRECT --to-port {port}");
        rule("nat", text, &format!("{name}: redirect to port {port}"))
    });
    never.into_iter().chain(first).chain(again).chain(redirects).collect()
}

/// That one of `left` ports is not the one, in the digits that Perl prints.
fn probability(left: usize) -> String {
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    let text = format!("{:.15}", 1.0 - 1.0 / f64::from(left));
    text.trim_end_matches('0').to_owned()
}

/// The same rules as one text, for suites that do not measure how long they take to make.
fn restore_text(service: &Service) -> String {
    let rules = rules(service);
    let table = |table: &str| {
        let rules = rules.iter().filter(|rule| rule.table == table);
        let lines: String = rules.map(|rule| line(&rule.words)).collect();
        format!("*{table}\n{lines}COMMIT\n")
    };
    TABLES.map(table).concat()
}

fn line(words: &[String]) -> String {
    let quoted = |word: &String| if word.contains(' ') { format!("\"{word}\"") } else { word.clone() };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ") + "\n"
}

pub(super) fn up(backend: Backend, bench: &Bench, place: &Place, service: &Service) -> Result<Up> {
    let program = backend.program() + "-restore";
    let rules = file(bench, "rules", &restore_text(service))?;
    let nothing = file(bench, "no-rules", &TABLES.map(|table| format!("*{table}\nCOMMIT\n")).concat())?;
    let mut undo = place.command(&program);
    undo.arg(nothing);
    // First, so that half a set of rules goes too.
    let up = Up::undone_by(undo);
    command::quietly(place.command(&program).arg(rules))?;
    Ok(up)
}

/// Starts a service as it would: one command a rule.
pub(in crate::bench) fn start(backend: Backend, place: &Place, service: &Service) -> Result<()> {
    for rule in rules(service) {
        command::quietly(iptables(backend, place, rule.table).args(&rule.words))?;
    }
    Ok(())
}

/// Stops a service as it would: by line number, highest first, one command a rule. What drops unknown marks stays.
pub(in crate::bench) fn stop(backend: Backend, place: &Place) -> Result<()> {
    for (table, chain) in [("mangle", "PREROUTING"), ("nat", "PREROUTING"), ("filter", "INPUT")] {
        let mut list = iptables(backend, place, table);
        let listed = command::quietly(list.args(["-L", chain, "-v", "-n", "--line-numbers"]))?;
        let ours = listed.lines().filter(|line| line.contains("wocut-bench:"));
        let numbers: Vec<&str> = ours.filter_map(|line| line.split_whitespace().next()).collect();
        for number in numbers.into_iter().rev() {
            command::quietly(iptables(backend, place, table).args(["-D", chain, number]))?;
        }
    }
    Ok(())
}

/// Takes everything away, whatever is there.
pub(in crate::bench) fn flush(backend: Backend, place: &Place) -> Result<()> {
    for table in TABLES {
        command::quietly(iptables(backend, place, table).arg("-F"))?;
    }
    Ok(())
}

fn iptables(backend: Backend, place: &Place, table: &str) -> Command {
    let mut iptables = place.command(&backend.program());
    iptables.args(["-t", table]);
    iptables
}

#[cfg(test)]
mod tests {
    use super::{probability, restore_text};
    use crate::bench::peer::Service;

    #[test]
    fn chances_are_those_of_a_cascade() {
        assert_eq!([4, 3, 2].map(probability), ["0.75", "0.666666666666667", "0.5"]);
    }

    #[test]
    fn rules_are_the_originals() {
        let text = restore_text(&Service::tcp(2));
        let mangle = "*mangle\n\
            -A PREROUTING -p tcp -m state --state NEW --dport 82 -j MARK --set-mark 20001 -m comment --comment \"wocut-bench: initialmark\"\n\
            -A PREROUTING -p tcp -m mark --mark 20001 -m statistic --mode random --probability 0.5 -j MARK --set-mark 20002 -m comment --comment \"wocut-bench: remark for port 20002\"\n\
            COMMIT\n";
        assert!(text.contains(mangle), "{text}");
        assert_eq!(text.matches("-j REDIRECT --to-port").count(), 2);
        assert_eq!(text.matches("--mark 99999 -j DROP").count(), 3);
    }
}
