//! Reads what `nft -j list ruleset` prints, as rules of any kind. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    ruleset::{Action, Chain, Hook, Rule, Table},
    traffic::{Condition, Net},
};

/// Reads the tables that are `wanted`, by family and name.
pub(super) fn parse(text: &str, wanted: impl Fn(&str, &str) -> bool) -> serde_json::Result<Vec<Table>> {
    let document: Value = serde_json::from_str(text)?;
    let objects = document["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let mut tables: BTreeMap<(String, String), (Table, Sets<'_>)> = BTreeMap::new();
    // Rules come after the sets and chains of their table, but chains of a later table may come in between.
    for pass in ["table", "set", "map", "chain", "rule"] {
        for object in objects.iter().filter_map(|object| object.get(pass)) {
            let name = if pass == "table" { "name" } else { "table" };
            let key = (text_of(&object["family"]), text_of(&object[name]));
            if pass == "table" && wanted(&key.0, &key.1) {
                let label = format!("nft table {} {}", key.0, key.1);
                tables.insert(key, (Table { label, chains: BTreeMap::new() }, BTreeMap::new()));
            } else if let Some((table, sets)) = tables.get_mut(&key) {
                take(table, sets, pass, &key.0, object);
            }
        }
    }
    Ok(tables.into_values().map(|(table, _)| table).collect())
}

/// The elements of the named sets and maps of a table.
type Sets<'a> = BTreeMap<&'a str, &'a [Value]>;

fn take<'a>(table: &mut Table, sets: &mut Sets<'a>, kind: &str, family: &str, object: &'a Value) {
    let name = object["name"].as_str().unwrap_or_default();
    match kind {
        "set" | "map" => {
            sets.insert(name, object["elem"].as_array().map_or(&[], Vec::as_slice));
        }
        "chain" => {
            let hook = match object["hook"].as_str() {
                Some("prerouting") => Some(Hook::Prerouting),
                Some("input") => Some(Hook::Input),
                Some("output") => Some(Hook::Output),
                Some("postrouting") => Some(Hook::Postrouting),
                _ => None,
            };
            // What crosses a bridge or arrives at a device is none of a service's traffic yet.
            let hook = hook.filter(|_| ["ip", "ip6", "inet"].contains(&family));
            table.chains.insert(name.into(), Chain { hook, rules: Vec::new() });
        }
        _ => {
            let expressions = object["expr"].as_array().map_or(&[][..], Vec::as_slice);
            if let Some(chain) = table.chains.get_mut(object["chain"].as_str().unwrap_or_default()) {
                chain.rules.extend(Reader { sets, family }.rules(expressions));
            }
        }
    }
}

struct Reader<'a, 'b> {
    sets: &'b Sets<'a>,
    family: &'b str,
}

impl<'a> Reader<'a, '_> {
    /// One rule, or as many as it has ways to go on.
    fn rules(&self, expressions: &'a [Value]) -> Vec<Rule> {
        let text = expressions.iter().filter_map(shown).collect::<Vec<_>>().join(" ");
        let mut conditions: Vec<Condition> = match self.family {
            "ip" => vec![Condition::Ipv6(false)],
            "ip6" => vec![Condition::Ipv6(true)],
            _ => Vec::new(),
        };
        let mut rules = Vec::new();
        for (kind, value) in expressions.iter().filter_map(only) {
            let action = match kind {
                "match" => {
                    conditions.push(self.condition(value));
                    continue;
                }
                "limit" | "quota" | "ct count" | "connlimit" | "meter" => {
                    conditions.push(Condition::Other);
                    continue;
                }
                "vmap" => {
                    for (when, verdict) in self.entries(&value["key"], &value["data"]) {
                        let Some((kind, target)) = only(verdict) else { continue };
                        let action = action(kind, target);
                        let conditions = [&conditions[..], &when].concat();
                        rules.push(Rule { conditions, action, text: text.clone() });
                    }
                    continue;
                }
                _ => action(kind, value),
            };
            if let Action::Translate = action {
                conditions.extend(self.mapped(value));
            }
            if action != Action::Nothing {
                rules.push(Rule { conditions: conditions.clone(), action, text: text.clone() });
            }
        }
        // A rule that only looks at a mark is met all the same.
        if rules.is_empty() && conditions.iter().any(|condition| condition.mark_bits() != 0) {
            rules.push(Rule { conditions, action: Action::Nothing, text });
        }
        rules
    }

    /// Where a translation looks up where to: it is done only for what is in the map.
    fn mapped(&self, value: &'a Value) -> Option<Condition> {
        let map = ["addr", "port"].into_iter().find_map(|part| value[part].get("map"))?;
        Some(Condition::Any(
            self.entries(&map["key"], &map["data"]).into_iter().map(|(when, _)| when).collect(),
        ))
    }

    /// The entries of a map: when each is taken, and what is in it.
    fn entries(&self, key: &'a Value, data: &'a Value) -> Vec<(Vec<Condition>, &'a Value)> {
        let pairs = self.elements(data);
        let entry = |pair: &'a Value| Some((equal(key, pair.get(0)?), pair.get(1)?));
        pairs.iter().filter_map(entry).collect()
    }

    /// What is in a set, named or not.
    fn elements(&self, value: &'a Value) -> &'a [Value] {
        let named = value.as_str().and_then(|name| name.strip_prefix('@'));
        match named {
            Some(name) => self.sets.get(name).copied().unwrap_or_default(),
            None => value["set"].as_array().map_or(&[], Vec::as_slice),
        }
    }

    fn condition(&self, value: &'a Value) -> Condition {
        let (left, right) = (&value["left"], &value["right"]);
        let is_set = right.get("set").is_some() || right.as_str().is_some_and(|name| name.starts_with('@'));
        let choices = if is_set {
            self.elements(right).iter().map(|element| equal(left, element)).collect()
        } else {
            vec![equal(left, right)]
        };
        let any = Condition::Any(choices);
        match value["op"].as_str() {
            Some("==" | "in") => any,
            Some("!=") => Condition::Not(Box::new(any)),
            // A comparison.
            _ => match any.mark_bits() {
                0 => Condition::Other,
                bits => Condition::Mark(bits),
            },
        }
    }
}

fn action(kind: &str, value: &Value) -> Action {
    let target = || text_of(&value["target"]);
    match kind {
        "dnat" | "redirect" | "tproxy" => Action::Translate,
        "xt" if ["DNAT", "REDIRECT", "TPROXY"].iter().any(|name| value["name"] == **name) => {
            Action::Translate
        }
        "accept" => Action::Accept,
        "drop" | "reject" => Action::Refuse,
        "return" => Action::Return,
        "jump" => Action::Jump(target()),
        "goto" => Action::Goto(target()),
        "mangle" if value["key"]["meta"]["key"] == "mark" => Action::Mark(set_bits(&value["value"])),
        _ => Action::Nothing,
    }
}

/// What it takes for an expression to have a value: all of these.
fn equal(left: &Value, right: &Value) -> Vec<Condition> {
    // An element with a comment, a counter or a timeout.
    let right = right.get("elem").map_or(right, |element| &element["val"]);
    if let (Some(left), Some(right)) = (left["concat"].as_array(), right["concat"].as_array()) {
        return left.iter().zip(right).flat_map(|(left, right)| equal(left, right)).collect();
    }
    if right.as_str() == Some("*") {
        return Vec::new();
    }
    let (field, meta) = (left["payload"]["field"].as_str(), left["meta"]["key"].as_str());
    let found = match (field, meta) {
        (Some("dport"), _) => ports(right).map(|range| {
            let transport = text_of(&left["payload"]["protocol"]);
            let transport = (transport != "th").then(|| Condition::Protocol(vec![transport]));
            transport.into_iter().chain([Condition::Port(vec![range])]).collect()
        }),
        (Some("saddr"), _) => Some(vec![Condition::Source]),
        (Some("daddr"), _) => net(right).map(|net| vec![Condition::Destination(vec![net])]),
        (Some("protocol" | "nexthdr"), _) | (_, Some("l4proto")) => {
            Some(vec![Condition::Protocol(vec![plain(right)])])
        }
        (_, Some("nfproto")) => Some(vec![Condition::Ipv6(right == "ipv6")]),
        (_, Some("mark")) => Some(vec![Condition::Mark(u32::MAX)]),
        _ => None,
    };
    if let Some(found) = found {
        return found;
    }
    let fib = &left["fib"];
    if fib["result"] == "type" && fib["flags"].as_array().is_some_and(|flags| flags.contains(&"daddr".into()))
    {
        return vec![Condition::Local(right == "local")];
    }
    if let Some([masked, mask]) = left["&"].as_array().map(Vec::as_slice)
        && masked["meta"]["key"] == "mark"
    {
        return vec![Condition::Mark(bits(mask).unwrap_or(u32::MAX))];
    }
    vec![Condition::Other]
}

/// The bits of a mark that an assignment changes.
fn set_bits(value: &Value) -> u32 {
    if value["meta"]["key"] == "mark" {
        return 0;
    }
    let sides = |operator: &str| value[operator].as_array().map(Vec::as_slice);
    match (sides("|"), sides("^"), sides("&")) {
        (Some([left, right]), ..) | (_, Some([left, right]), _) => {
            set_bits(left) | bits(right).unwrap_or(u32::MAX)
        }
        (_, _, Some([left, right])) => set_bits(left) | !bits(right).unwrap_or(0),
        _ => u32::MAX,
    }
}

fn bits(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|bits| u32::try_from(bits).ok())
}

fn ports(value: &Value) -> Option<(u16, u16)> {
    let port = |value: &Value| u16::try_from(value.as_u64()?).ok();
    match value["range"].as_array().map(Vec::as_slice) {
        Some([first, last]) => Some((port(first)?, port(last)?)),
        _ => port(value).map(|port| (port, port)),
    }
}

/// An address or a prefix.
fn net(value: &Value) -> Option<Net> {
    let prefix = &value["prefix"];
    match prefix["addr"].as_str() {
        Some(address) => Net::parse(&format!("{address}/{}", prefix["len"])),
        None => Net::parse(value.as_str()?),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

/// The one member of an object; a verdict may also be a bare word.
fn only(value: &Value) -> Option<(&str, &Value)> {
    match value {
        Value::String(word) => Some((word, value)),
        _ => value.as_object()?.iter().next().map(|(kind, value)| (kind.as_str(), value)),
    }
}

/// About as `nft` would say it: enough to find the rule.
fn shown(expression: &Value) -> Option<String> {
    let (kind, value) = only(expression)?;
    Some(match kind {
        "counter" | "comment" => return None,
        "match" => {
            let operator = value["op"].as_str().filter(|op| *op != "==" && *op != "in").unwrap_or_default();
            format!("{} {operator} {}", side(&value["left"]), side(&value["right"])).replace("  ", " ")
        }
        "jump" | "goto" => format!("{kind} {}", text_of(&value["target"])),
        "vmap" => format!("{} vmap {}", side(&value["key"]), side(&value["data"])),
        "dnat" | "redirect" | "tproxy" => {
            let part = |name: &str| value.get(name).map(side).unwrap_or_default();
            match (part("addr"), part("port")) {
                (address, port) if port.is_empty() => format!("{kind} to {address}"),
                (address, port) => format!("{kind} to {address}:{port}"),
            }
        }
        "mangle" => format!("{} set {}", side(&value["key"]), side(&value["value"])),
        "xt" => text_of(&value["name"]),
        other => other.into(),
    })
}

fn side(value: &Value) -> String {
    let list = |values: &[Value], between: &str| values.iter().map(side).collect::<Vec<_>>().join(between);
    match only(value) {
        None => match value {
            Value::Array(values) => list(values, " : "),
            other => plain(other),
        },
        Some(("payload", value)) => {
            format!("{} {}", text_of(&value["protocol"]), text_of(&value["field"]))
        }
        Some(("meta" | "ct", inner)) => {
            let kind = only(value).map_or("", |(kind, _)| kind);
            format!("{kind} {}", text_of(&inner["key"]))
        }
        Some(("fib", _)) => "fib daddr type".into(),
        Some(("prefix", value)) => format!("{}/{}", text_of(&value["addr"]), value["len"]),
        Some((operator @ ("&" | "|" | "^"), value)) => {
            value.as_array().map_or_else(String::new, |values| list(values, &format!(" {operator} ")))
        }
        Some((kind, Value::Array(values))) => match kind {
            "set" => format!("{{ {} }}", list(values, ", ")),
            "range" => list(values, "-"),
            "concat" => list(values, " . "),
            other => format!("{other} {}", list(values, " ")),
        },
        Some((word, Value::String(_))) => word.into(),
        Some((kind, _)) => kind.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;
    use crate::conflicts::{
        ruleset::{Action, Hook, Table},
        traffic::Traffic,
    };

    /// A table as firewalld, kube-proxy and people write them, printed by nft 1.0.6.
    const RULESET: &str = include_str!("ruleset.json");

    fn tables() -> Vec<Table> {
        parse(RULESET, |_, _| true).unwrap()
    }

    fn met(hook: Hook, listen: &str, action: impl Fn(&Action) -> bool) -> Vec<String> {
        let host = ["10.0.0.1", "192.0.2.1", "2001:db8::1"].map(|address| address.parse().unwrap());
        let traffic = Traffic::to(&listen.parse().unwrap(), &host);
        let tables = tables();
        let all = tables.iter().flat_map(|table| traffic.iter().flat_map(move |one| table.walk(hook, one)));
        let mut found: Vec<String> = all
            .filter(|met| action(&met.rule.action))
            .map(|met| format!("{} {}: {}", met.table, met.chains.join(" "), met.rule.text))
            .collect();
        found.dedup();
        found
    }

    fn translations(listen: &str) -> Vec<String> {
        met(Hook::Prerouting, listen, |action| *action == Action::Translate)
    }

    #[test]
    fn translations_of_the_port_are_found_wherever_they_are() {
        assert_eq!(
            translations("10.0.0.1:80/tcp"),
            [
                "nft table inet fw man: tcp dport 80 tproxy to :1234 accept",
                "nft table inet fw pre sub: ip daddr 10.0.0.0/8 tcp dport @ports redirect to :8088",
            ]
        );
        assert_eq!(
            translations("192.0.2.1:80/tcp")[1..],
            ["nft table inet fw pre ep: meta l4proto tcp dnat to 10.0.0.9:8080",]
        );
        assert_eq!(
            translations("192.0.2.1:81/tcp"),
            ["nft table inet fw pre: meta iifname eth0 tcp dport 80-90 dnat to map",]
        );
        let local = met(Hook::Output, "80/tcp", |action| *action == Action::Translate);
        assert_eq!(local, ["nft table ip nat2 x: tcp dport 80 redirect to :8"]);
    }

    #[test]
    fn what_is_for_others_is_not() {
        assert_eq!(translations("10.0.0.1:80/udp"), [""; 0]);
        assert_eq!(translations("192.0.2.1:443/tcp"), [""; 0]);
        assert_eq!(translations("192.0.2.1:82/tcp"), [""; 0]);
    }

    #[test]
    fn marks_and_refusals_are_read() {
        let is_mark = |action: &Action| matches!(action, Action::Mark(bits) if *bits != 0);
        assert_eq!(
            met(Hook::Prerouting, "0.0.0.0:7/udp", is_mark),
            [
                "nft table inet fw man: meta mark set meta mark | 16384",
                "nft table inet fw man: meta mark set ct mark",
                "nft table inet fw man: ip daddr != 10.0.0.1 meta mark set meta mark & 4294967044 | 4",
                "nft table inet fw man: meta mark set 1",
            ]
        );
        let refusals = met(Hook::Input, "80/tcp", |action| *action == Action::Refuse);
        assert_eq!(refusals, ["nft table inet fw inp: tcp dport 80 drop"]);
        let bits =
            |bits: u32| met(Hook::Prerouting, "0.0.0.0:7/udp", |action| *action == Action::Mark(bits)).len();
        assert_eq!((bits(0x4000), bits(0xff), bits(u32::MAX)), (1, 1, 2));
    }

    proptest! {
        #[test]
        fn no_json_panics(cut in 0..RULESET.len(), junk in "[\\[\\]{},:\"a-z0-9@/]{0,20}") {
            let cut = (cut..=RULESET.len()).find(|at| RULESET.is_char_boundary(*at)).unwrap();
            drop(parse(&format!("{}{junk}{}", &RULESET[..cut], &RULESET[cut..]), |_, _| true));
        }

        #[test]
        fn no_value_panics(port in any::<u64>(), text in "\\PC{0,8}") {
            let broken = RULESET.replace("\"10.0.0.1\"", &port.to_string()).replace("8088", &format!("{text:?}"));
            drop(parse(&broken, |_, _| true));
        }
    }
}
