//! wocut's own files: `[service.NAME]` and its keys.

use std::{net::IpAddr, ops::Range};

use super::{
    check,
    fields::Fields,
    node::{Key, Node, Value},
    problem::Problems,
    toml,
};
use crate::model::{
    Admin, Definition, EngineChoice, InstanceSpec, Listen, Member, Name, Options, ParseError, Weight,
};

/// The keys of a service.
pub(super) const KEYS: [&str; 12] = [
    "listen",
    "instances",
    "policy",
    "sticky_prefix",
    "on_empty",
    "guard",
    "hook",
    "allow_degraded",
    "slow_start",
    "engine",
    "description",
    "check",
];
pub(super) const INSTANCE_KEYS: [&str; 7] = ["name", "address", "port", "weight", "admin", "backup", "check"];

const INSTANCES: &str = r#"[8001, "8002*3"]"#;

/// The services of a file, each with the place of its name.
pub(super) fn read(problems: &mut Problems<'_>) -> Vec<(Definition, Range<usize>)> {
    let Some(root) = toml::parse(problems) else { return Vec::new() };
    let Some(services) = problems.fields(&root, &["service"]).and_then(|fields| fields.get("service")) else {
        return Vec::new();
    };
    let Some(services) = problems.table(services) else { return Vec::new() };
    let services = services.iter();
    services.filter_map(|(key, node)| Some((service(problems, key, node)?, key.span.clone()))).collect()
}

fn service(problems: &mut Problems<'_>, key: &Key, node: &Node) -> Option<Definition> {
    let before = problems.refused.count();
    let name: Option<Name> = problems.parsed(&key.span, &key.name);
    let fields = problems.fields(node, &KEYS)?;
    let listen = fields.must("listen", &key.span, problems).and_then(|node| listen(problems, node));
    let instances = fields.must("instances", &key.span, problems);
    let instances = instances.and_then(|node| {
        let list = problems.any_list(node, INSTANCES)?;
        problems.each(list, instance)
    });
    let options = options(problems, &fields);
    let engine: Option<EngineChoice> = fields.get("engine").and_then(|node| problems.parse(node));
    let description = fields.get("description").and_then(|node| problems.parse(node));
    let check = fields.get("check").and_then(|node| check::read(problems, node));
    let definition = Definition {
        name: name?,
        listen: listen?,
        instances: instances?,
        options,
        engine: engine.unwrap_or_default(),
        description,
        check,
    };
    // What could not be read is not what is meant.
    (problems.refused.count() == before).then_some(definition)
}

fn listen(problems: &mut Problems<'_>, node: &Node) -> Option<Vec<Listen>> {
    let list = problems.list(node, r#"["80/tcp"]"#)?;
    problems.each(list, |problems, node| match &node.value {
        Value::Number(port) => {
            problems.error(&node.span, format!("it wants a protocol, as in `\"{port}/tcp\"`"));
            None
        }
        _ => problems.parse(node),
    })
}

/// What is not there, or not what it should be, is as `attach` has it.
fn options(problems: &mut Problems<'_>, fields: &Fields<'_>) -> Options {
    let usual = Options::default();
    let mut flag = |key| fields.get(key).and_then(|node| problems.flag(node)).unwrap_or_default();
    let (guard, allow_degraded) = (flag("guard"), flag("allow_degraded"));
    let prefix = fields.get("sticky_prefix").and_then(|node| match node.value {
        Value::Number(v4) => problems.parsed(&node.span, &v4.to_string()),
        _ => problems.parse(node),
    });
    Options {
        policy: word(problems, fields, "policy").unwrap_or(usual.policy),
        sticky_prefix: prefix.unwrap_or(usual.sticky_prefix),
        on_empty: word(problems, fields, "on_empty").unwrap_or(usual.on_empty),
        guard,
        hook: word(problems, fields, "hook").unwrap_or(usual.hook),
        allow_degraded,
        slow_start: word(problems, fields, "slow_start"),
    }
}

pub(super) fn word<T: std::str::FromStr<Err = ParseError>>(
    problems: &mut Problems<'_>,
    fields: &Fields<'_>,
    key: &str,
) -> Option<T> {
    fields.get(key).and_then(|node| problems.parse(node))
}

fn instance(problems: &mut Problems<'_>, node: &Node) -> Option<Member> {
    match &node.value {
        Value::Number(port) => {
            let spec: InstanceSpec = problems.parsed(&node.span, &port.to_string())?;
            Some(spec.into())
        }
        Value::Text(text) => {
            let spec: InstanceSpec = problems.parsed(&node.span, text)?;
            Some(spec.into())
        }
        Value::Table(_) => member(problems, node),
        _ => problems.wants(node, "a port, a text as in `\"8002*3\"`, or a table"),
    }
}

fn member(problems: &mut Problems<'_>, node: &Node) -> Option<Member> {
    let before = problems.refused.count();
    let fields = problems.fields(node, &INSTANCE_KEYS)?;
    let port: Option<u16> = fields
        .must("port", fields.span(), problems)
        .and_then(|node| problems.number(node, "a port", 1..=65535));
    let address = fields.get("address").and_then(|node| address(problems, node));
    let weight = fields.get("weight").and_then(|node| {
        let weight: u16 = problems.number(node, "a weight", 0..=Weight::MAX.into())?;
        problems.parsed(&node.span, &weight.to_string())
    });
    let admin = fields.get("admin").and_then(|node| admin(problems, node));
    let backup = fields.get("backup").and_then(|node| problems.flag(node)).unwrap_or_default();
    let check = fields.get("check").and_then(|node| check::read_override(problems, node));
    let name = match fields.get("name") {
        Some(node) => problems.parse(node),
        None => port.and_then(|port| problems.parsed(&node.span, &port.to_string())),
    };
    let spec =
        InstanceSpec { name: name?, address, port: port?, weight: weight.unwrap_or_else(Weight::default) };
    (problems.refused.count() == before).then_some(Member { spec, admin, check, backup })
}

pub(super) fn address(problems: &mut Problems<'_>, node: &Node) -> Option<IpAddr> {
    let Value::Text(text) = &node.value else { return problems.wants(node, "a text") };
    match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) if address.is_unspecified() => {
            problems.error(&node.span, "leave the address out to mean any");
            None
        }
        Ok(address) => Some(address),
        Err(_) => {
            problems.error(&node.span, "it is an IPv4 or IPv6 address, as in `\"127.0.0.1\"`");
            None
        }
    }
}

fn admin(problems: &mut Problems<'_>, node: &Node) -> Option<Admin> {
    let Value::Text(text) = &node.value else { return problems.wants(node, "a text") };
    let all = [Admin::Ready, Admin::Drain, Admin::Maint];
    let found = all.into_iter().find(|admin| admin.to_string() == *text);
    if found.is_none() {
        problems.error(&node.span, "it is one of `ready` `drain` `maint`");
    }
    found
}
