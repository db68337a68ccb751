//! Reads what `iptables-save` prints, as rules of any kind. Pure.

use std::collections::BTreeMap;

use super::{
    ruleset::{Action, Chain, Hook, Rule, Table},
    traffic::{Condition, Net},
};
use crate::engine::iptables::{is_own, words};

/// Reads all that can be read. wocut's own chains are left out, so that jumps to them lead nowhere.
pub(super) fn parse(text: &str, ipv6: bool) -> Vec<Table> {
    let tool = if ipv6 { "ip6tables" } else { "iptables" };
    let mut tables: Vec<Table> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            tables.push(Table { label: format!("{tool} table {}", name.trim()), chains: BTreeMap::new() });
        } else if let Some(table) = tables.last_mut() {
            line_of(table, line, ipv6);
        }
    }
    tables
}

/// The tables that only `nft` can show: ``# Table `nat' is incompatible, use 'nft' tool.``
pub(super) fn hidden(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        line.strip_prefix("# Table `")?.split_once("' is incompatible").map(|(name, _)| name)
    })
}

fn line_of(table: &mut Table, line: &str, ipv6: bool) {
    if let Some(declared) = line.strip_prefix(':') {
        let name = declared.split_ascii_whitespace().next().unwrap_or_default();
        let hook = match name {
            "PREROUTING" => Some(Hook::Prerouting),
            "INPUT" => Some(Hook::Input),
            "OUTPUT" => Some(Hook::Output),
            "POSTROUTING" => Some(Hook::Postrouting),
            _ => None,
        };
        if !is_own(name) {
            table.chains.insert(name.into(), Chain { hook, rules: Vec::new() });
        }
    } else if let Some((name, text)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' '))
        && let Some(chain) = table.chains.get_mut(name)
    {
        let mut rule = rule(text);
        rule.conditions.push(Condition::Ipv6(ipv6));
        chain.rules.push(rule);
    }
}

fn rule(text: &str) -> Rule {
    let words = words(text);
    let mut conditions = Vec::new();
    let mut module = "";
    let mut rest = words.as_slice();
    let mut action = Action::Nothing;
    while let Some((word, after)) = rest.split_first() {
        let (negated, option, after) = match after.split_first() {
            Some((option, after)) if word == "!" => (true, option, after),
            _ => (false, word, after),
        };
        // What a comment says may look like an option.
        let taken = match option.as_str() {
            "--comment" => 1.min(after.len()),
            _ => after.iter().take_while(|word| !word.starts_with('-') && *word != "!").count(),
        };
        let (values, after) = after.split_at(taken);
        rest = after;
        let value = values.first().map_or("", String::as_str);
        match option.as_str() {
            "-m" => module = value,
            "-j" | "-g" => {
                action = self::action(value, option == "-g", rest);
                break;
            }
            "--comment" => {}
            _ => {
                let condition = condition(module, option, value);
                conditions.push(if negated { Condition::Not(Box::new(condition)) } else { condition });
            }
        }
    }
    Rule { conditions, action, text: text.into() }
}

fn condition(module: &str, option: &str, value: &str) -> Condition {
    let known = match option {
        "-p" => Some(Condition::Protocol(vec![value.into()])),
        "-s" => Some(Condition::Source),
        "-d" => Net::parse(value).map(|net| Condition::Destination(vec![net])),
        "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
            ports(value).map(Condition::Port)
        }
        "--dst-type" => Some(Condition::Local(value.split(',').any(|kind| kind == "LOCAL"))),
        "--mark" if module == "mark" => Some(Condition::Mark(mask_of(value))),
        _ => None,
    };
    known.unwrap_or(Condition::Other)
}

/// `80`, `80:90`, `80,443,8000:8010`.
fn ports(text: &str) -> Option<Vec<(u16, u16)>> {
    let range = |text: &str| {
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.split(',').map(range).collect()
}

/// The bits that `VALUE[/MASK]` looks at or sets.
fn mask_of(text: &str) -> u32 {
    match text.split_once('/') {
        Some((_, mask)) => hexadecimal(mask).unwrap_or(u32::MAX),
        None => u32::MAX,
    }
}

fn hexadecimal(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn action(target: &str, is_goto: bool, options: &[String]) -> Action {
    let option = |name: &str| {
        let at = options.iter().position(|word| word == name)?;
        options.get(at + 1).map(String::as_str)
    };
    let has = |name: &str| options.iter().any(|word| word == name);
    match target {
        "DNAT" | "REDIRECT" | "TPROXY" | "NETMAP" => Action::Translate,
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" | "TARPIT" => Action::Refuse,
        "RETURN" => Action::Return,
        "MARK" => Action::Mark(option("--set-xmark").map_or(u32::MAX, |text| {
            let value = text.split_once('/').map_or(text, |(value, _)| value);
            mask_of(text) | hexadecimal(value).unwrap_or(u32::MAX)
        })),
        "CONNMARK" if has("--restore-mark") => {
            Action::Mark(option("--nfmask").and_then(hexadecimal).unwrap_or(u32::MAX))
        }
        "HMARK" => Action::Mark(u32::MAX),
        "" | "LOG" | "NFLOG" | "CONNMARK" | "CT" | "NOTRACK" | "TCPMSS" | "TRACE" | "SET" | "CLASSIFY"
        | "DSCP" | "CHECKSUM" | "AUDIT" | "ULOG" | "TOS" | "TTL" | "HL" | "TEE" => Action::Nothing,
        chain if is_goto => Action::Goto(chain.into()),
        chain => Action::Jump(chain.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Action, Condition, Hook, hidden, parse, rule};

    const DOCKER: &str = "\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:WOCUT - [0:0]
-A PREROUTING -j WOCUT
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -m comment --comment \"-j ACCEPT\" -j DNAT --to-destination 172.17.0.2:80
-A WOCUT -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8001
COMMIT
# Table `filter' is incompatible, use 'nft' tool.
";

    #[test]
    fn a_rule_of_docker_is_found_and_none_of_wocut() {
        let tables = parse(DOCKER, false);
        let traffic = crate::conflicts::traffic::Traffic::to(&"80/tcp".parse().unwrap(), &[]).remove(0);
        let met = tables[0].walk(Hook::Prerouting, &traffic);
        let taken: Vec<_> = met.iter().filter(|met| met.rule.action == Action::Translate).collect();
        assert_eq!(taken.len(), 1);
        assert_eq!(
            (taken[0].table, &taken[0].chains[..]),
            ("iptables table nat", &["PREROUTING", "DOCKER"][..])
        );
        assert!(taken[0].names_port);
        assert_eq!(hidden(DOCKER).collect::<Vec<_>>(), ["filter"]);
    }

    #[test]
    fn options_are_read_with_their_module() {
        let both = rule("-p udp -m multiport --dports 53,5000:5003 -m mark ! --mark 0x4000/0x4000 -j KUBE");
        assert_eq!(
            both.conditions,
            [
                Condition::Protocol(vec!["udp".into()]),
                Condition::Port(vec![(53, 53), (5000, 5003)]),
                Condition::Not(Box::new(Condition::Mark(0x4000))),
            ]
        );
        assert_eq!(both.action, Action::Jump("KUBE".into()));
        assert_eq!(rule("-m connmark --mark 0x1 -j RETURN").conditions, [Condition::Other]);
        let bits = |text| rule(text).action;
        assert_eq!(bits("-j MARK --set-xmark 0x4000/0x4000"), Action::Mark(0x4000));
        assert_eq!(bits("-j MARK --set-xmark 0x0/0xffffbfff"), Action::Mark(0xffff_bfff));
        assert_eq!(
            bits("-j CONNMARK --restore-mark --nfmask 0xff0000 --ctmask 0xff0000"),
            Action::Mark(0xff_0000)
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            parse(&text, true);
            rule(&text);
        }

        #[test]
        fn no_broken_output_panics(cut in 0..DOCKER.len(), junk in "[: \\-A*!\n\"jmp0-9/,]{0,40}") {
            parse(&format!("{}{junk}{}", &DOCKER[..cut], &DOCKER[cut..]), false);
        }
    }
}
