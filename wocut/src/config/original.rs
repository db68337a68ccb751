//! Files of the original wocut: `NAME.wocut`, in YAML.

use std::ops::Range;

use super::{
    node::{Node, Value},
    problem::Problems,
    yaml,
};
use crate::model::{Definition, Description, EngineChoice, InstanceSpec, Listen, Name, Options, ParseError};

/// The keys of the original. It stored `monitor` and looked at `monitoring`.
const KEYS: [&str; 8] =
    ["proto", "inport", "markports", "auto", "blockdirect", "monitor", "monitoring", "description"];

/// The service of a file, if it is one, with the place of its text.
pub(super) fn read(problems: &mut Problems<'_>) -> Vec<(Definition, Range<usize>)> {
    let name: Result<Name, ParseError> = problems.source.stem.parse();
    if let Err(error) = &name {
        problems.error(&(0..0), format!("the file's name is the service's: {error}"));
    }
    let Some(root) = yaml::parse(problems) else { return Vec::new() };
    let first = match &root.value {
        Value::Table(table) => table.first().map_or(0..0, |(key, _)| key.span.clone()),
        _ => 0..0,
    };
    let definition = name.ok().and_then(|name| service(problems, name, &root, &first));
    definition.map(|definition| (definition, first)).into_iter().collect()
}

fn service(problems: &mut Problems<'_>, name: Name, root: &Node, first: &Range<usize>) -> Option<Definition> {
    let before = problems.refused.count();
    let fields = problems.fields(root, &KEYS)?;
    let protocol = fields.must("proto", first, problems);
    let port = fields.must("inport", first, problems);
    let listen: Option<Listen> = protocol.zip(port).and_then(|(protocol, port)| {
        let (protocol, number) = (text(problems, protocol)?, text(problems, port)?);
        problems.parsed(&port.span, &format!("{number}/{}", protocol.to_ascii_lowercase()))
    });
    let ports = fields.must("markports", first, problems);
    let instances = ports.and_then(|node| {
        let list = problems.list(node, "[9000, 9001]")?;
        problems.each(list, |problems, node| {
            let text = text(problems, node)?;
            // The text of an instance could say more than the original's port.
            if text.bytes().all(|b| b.is_ascii_digit()) {
                let spec: InstanceSpec = problems.parsed(&node.span, text)?;
                return Some(spec.into());
            }
            problems.error(&node.span, "it is a port from 1 to 65535");
            None
        })
    });
    let mut flag = |key| fields.get(key).map(|node| flag(problems, node));
    let (auto, guard) = (flag("auto"), flag("blockdirect"));
    // What these ask for is always there, and need not be asked for.
    let _counted = (flag("monitor"), flag("monitoring"));
    if let (Some(Some(false)), Some(span)) = (auto, fields.key("auto")) {
        problems.warn(span, "`auto` is off, but what is applied is attached, at boot as well");
    }
    let description = fields.get("description").and_then(|node| description(problems, node));
    let definition = Definition {
        name,
        listen: vec![listen?],
        instances: instances?,
        options: Options { guard: guard.flatten().unwrap_or_default(), ..Options::default() },
        engine: EngineChoice::Auto,
        description,
        check: None,
    };
    (problems.refused.count() == before).then_some(definition)
}

fn text<'n>(problems: &mut Problems<'_>, node: &'n Node) -> Option<&'n str> {
    match &node.value {
        Value::Text(text) => Some(text),
        _ => problems.wants(node, "a text or a number"),
    }
}

/// 0 and 1, or a word for it.
fn flag(problems: &mut Problems<'_>, node: &Node) -> Option<bool> {
    let word = text(problems, node)?.to_ascii_lowercase();
    match word.as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => problems.wants(node, "0 or 1"),
    }
}

/// One line of it, however many it was written in.
fn description(problems: &mut Problems<'_>, node: &Node) -> Option<Description> {
    if node.value == Value::Other("nothing") {
        return None;
    }
    let words: Vec<&str> = text(problems, node)?.split_whitespace().collect();
    if words.is_empty() { None } else { problems.parsed(&node.span, &words.join(" ")) }
}
