//! The keys of a check.

use std::num::{NonZeroU8, NonZeroU16};

use super::{
    fields::{Fields, quoted},
    node::{Node, Value},
    problem::Problems,
    service::{address, word},
};
use crate::model::{
    Check, CheckKind, CheckOverride, Health, HttpRequest, Program, Statuses, Step, Steps, Tls, TlsName,
};

/// The keys of every check, and those of some.
pub(super) const KEYS: [&str; 19] = [
    "type",
    "address",
    "port",
    "interval",
    "fast_interval",
    "timeout",
    "rise",
    "fall",
    "initial",
    "path",
    "method",
    "host",
    "status",
    "body",
    "verify",
    "server_name",
    "steps",
    "tls",
    "command",
];

/// The check of a service.
pub(super) fn read(problems: &mut Problems<'_>, node: &Node) -> Option<Check> {
    let before = problems.refused.count();
    let fields = problems.fields(node, &KEYS)?;
    let kind = fields.must("type", fields.span(), problems).and_then(|node| kind(problems, &fields, node));
    let check = when(problems, &fields, Check::of(kind?));
    match check.sound() {
        Ok(check) => (problems.refused.count() == before).then_some(check),
        Err(unsound) => {
            problems.error(fields.key(unsound.key).unwrap_or(fields.span()), unsound.to_string());
            None
        }
    }
}

/// What an instance has instead.
pub(super) fn read_override(problems: &mut Problems<'_>, node: &Node) -> Option<CheckOverride> {
    match node.value {
        Value::Flag(false) => Some(CheckOverride::Off),
        Value::Table(_) => read(problems, node).map(|check| CheckOverride::Own(check.into())),
        _ => problems.wants(node, "a table, or `false` for no check"),
    }
}

fn kind(problems: &mut Problems<'_>, fields: &Fields<'_>, node: &Node) -> Option<CheckKind> {
    let Value::Text(kind) = &node.value else { return problems.wants(node, "a text") };
    if !CheckKind::TYPES.contains(&kind.as_str()) {
        problems.error(&node.span, format!("it is one of {}", quoted(&CheckKind::TYPES)));
        return None;
    }
    let foreign = KEYS.iter().filter(|key| !CheckKind::has_key(kind, key));
    for (key, span) in foreign.filter_map(|key| Some((key, fields.key(key)?))) {
        problems.error(span, format!("a check of type `{kind}` has no {key}"));
    }
    Some(match kind.as_str() {
        "http" => CheckKind::Http(request(problems, fields)),
        "https" => CheckKind::Https { request: request(problems, fields), tls: tls(problems, fields) },
        "send-expect" => {
            let steps = fields.must("steps", fields.span(), problems);
            let steps = steps.and_then(|node| talk(problems, node));
            CheckKind::SendExpect { tls: perhaps_tls(problems, fields), steps: steps? }
        }
        "udp" => {
            let steps = match fields.get("steps") {
                Some(node) => talk(problems, node)?,
                None => Steps::default(),
            };
            CheckKind::Udp { steps }
        }
        "exec" => {
            let command = fields.must("command", fields.span(), problems);
            CheckKind::Exec { command: command.and_then(|node| program(problems, node))? }
        }
        "tcp" => CheckKind::Tcp,
        _ => return None,
    })
}

/// What is not there, or not what it should be, is as usual.
fn request(problems: &mut Problems<'_>, fields: &Fields<'_>) -> HttpRequest {
    let status = fields.get("status").and_then(|node| status(problems, node));
    HttpRequest {
        method: word(problems, fields, "method").unwrap_or_default(),
        path: word(problems, fields, "path").unwrap_or_default(),
        host: word(problems, fields, "host"),
        status: status.unwrap_or_default(),
        body: word(problems, fields, "body"),
    }
}

/// A code, a range, or a list of such.
fn status(problems: &mut Problems<'_>, node: &Node) -> Option<Statuses> {
    let example = r#"["200-299", 404]"#;
    let one = |problems: &mut Problems<'_>, node: &Node| -> Option<Statuses> {
        match &node.value {
            Value::Number(code) => problems.parsed(&node.span, &code.to_string()),
            Value::Text(text) => problems.parsed(&node.span, text),
            _ => problems.wants(node, &format!("a code, a range, or a list, as in `{example}`")),
        }
    };
    let Value::List(_) = &node.value else { return one(problems, node) };
    let list = problems.list(node, example)?;
    let all: Vec<String> = problems.each(list, one)?.iter().map(ToString::to_string).collect();
    problems.parsed(&node.span, &all.join(" "))
}

fn tls(problems: &mut Problems<'_>, fields: &Fields<'_>) -> Tls {
    let verify = fields.get("verify").and_then(|node| problems.flag(node));
    let server_name: Option<TlsName> = word(problems, fields, "server_name");
    Tls { verify: verify.unwrap_or(true), server_name }
}

fn perhaps_tls(problems: &mut Problems<'_>, fields: &Fields<'_>) -> Option<Tls> {
    let is_tls = fields.get("tls").and_then(|node| problems.flag(node)).unwrap_or_default();
    for span in ["verify", "server_name"].iter().filter_map(|key| fields.key(key)).filter(|_| !is_tls) {
        problems.error(span, "it wants `tls = true` beside it");
    }
    is_tls.then(|| tls(problems, fields))
}

fn talk(problems: &mut Problems<'_>, node: &Node) -> Option<Steps> {
    let list = problems.list(node, r#"[{ send = "PING%0D%0A" }, { expect = "+PONG*" }]"#)?;
    let steps = problems.each(list, |problems, node| {
        let fields = problems.fields(node, &["send", "expect"])?;
        match (fields.get("send"), fields.get("expect")) {
            (Some(send), None) => problems.parse(send).map(Step::Send),
            (None, Some(expect)) => problems.parse(expect).map(Step::Expect),
            _ => {
                problems.error(&node.span, "a step has either `send` or `expect`");
                None
            }
        }
    })?;
    sound(problems, node, Steps::try_from(steps))
}

fn program(problems: &mut Problems<'_>, node: &Node) -> Option<Program> {
    let list = problems.list(node, r#"["/usr/lib/check", "--quick"]"#)?;
    let words = problems.each(list, |problems, node| match &node.value {
        Value::Text(text) => Some(text.clone()),
        _ => problems.wants(node, "a text"),
    })?;
    sound(problems, node, Program::try_from(words))
}

fn sound<T>(
    problems: &mut Problems<'_>,
    node: &Node,
    made: Result<T, crate::model::ParseError>,
) -> Option<T> {
    made.map_err(|error| problems.error(&node.span, error.to_string())).ok()
}

/// The same with the times, counts and place of a file.
fn when(problems: &mut Problems<'_>, fields: &Fields<'_>, usual: Check) -> Check {
    let mut count = |key| {
        let number: u8 = problems.number(fields.get(key)?, "a number", 1..=255)?;
        NonZeroU8::new(number)
    };
    let (rise, fall) = (count("rise").unwrap_or(usual.rise), count("fall").unwrap_or(usual.fall));
    let port: Option<u16> = fields.get("port").and_then(|node| problems.number(node, "a port", 1..=65535));
    let interval = word(problems, fields, "interval").unwrap_or(usual.interval);
    Check {
        address: fields.get("address").and_then(|node| address(problems, node)),
        port: port.and_then(NonZeroU16::new),
        interval,
        fast_interval: word(problems, fields, "fast_interval"),
        // An interval that is short has a timeout that is short as well, unless the file names one.
        timeout: word(problems, fields, "timeout").unwrap_or(usual.timeout.min(interval)),
        rise,
        fall,
        initial: fields.get("initial").and_then(|node| initial(problems, node)).unwrap_or_default(),
        ..usual
    }
}

fn initial(problems: &mut Problems<'_>, node: &Node) -> Option<Health> {
    let Value::Text(text) = &node.value else { return problems.wants(node, "a text") };
    let all = [Health::Up, Health::Down, Health::Unknown];
    let found = all.into_iter().find(|health| health.to_string() == *text);
    if found.is_none() {
        problems.error(&node.span, "it is one of `up` `down` `unknown`");
    }
    found
}
