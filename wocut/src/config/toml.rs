//! TOML becomes a tree. The parser bounds the depth.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    node::{Key, Node, Value},
    problem::{Problems, shown},
};

/// The tree of the text, or nothing when its notation is wrong.
pub(super) fn parse(problems: &mut Problems<'_>) -> Option<Node> {
    let source = problems.source;
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.error(&span, shown_message(error.message()));
    }
    errors.is_empty().then(|| Node { span: table.span(), value: entries(table.into_inner()) })
}

fn entries(table: DeTable<'_>) -> Value {
    let entry = |(key, value): (Spanned<_>, _)| {
        let span = key.span();
        let name: std::borrow::Cow<'_, str> = key.into_inner();
        (Key { span, name: name.into() }, node(value))
    };
    let mut entries: Vec<_> = table.into_iter().map(entry).collect();
    // As in the file.
    entries.sort_by_key(|(key, _)| key.span.start);
    Value::Table(entries)
}

fn node(value: Spanned<DeValue<'_>>) -> Node {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Other("a number beyond 64 bits"),
        },
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Float(_) => Value::Other("a number with a point"),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(list) => Value::List(list.into_iter().map(node).collect()),
        DeValue::Table(table) => entries(table),
    };
    Node { span, value }
}

/// The parser's own words, on one line.
fn shown_message(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > 60 { line.chars().take(200).collect() } else { shown(&line) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;
    use crate::config::{
        problem::{Problem, Problems},
        source::Source,
    };

    fn errors(text: &str) -> Vec<String> {
        let source = Source::toml(text);
        let mut problems = Problems::new(&source);
        let tree = parse(&mut problems);
        assert_eq!(tree.is_none(), problems.refused.count() > 0);
        problems.refused.problems.iter().map(Problem::brief).collect()
    }

    #[test]
    fn every_error_of_notation_has_its_place() {
        let said = errors("a = \nb = 1\nb = 2\n");
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("test.toml:1:") && said[1].starts_with("test.toml:3:1: duplicate key"));
    }

    #[test]
    fn depth_and_noise_end_in_an_error() {
        let deep = 20_000;
        for text in [
            format!("{}a = 1", "a.".repeat(deep)),
            format!("[{}a]", "a.".repeat(deep)),
            format!("a = {}", "[".repeat(deep)),
            format!("a = {}", "{a=".repeat(deep)),
            "=\n".repeat(deep),
            "\u{1}".repeat(deep),
        ] {
            assert!(!errors(&text).is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|([\\[\\]{}=.,\"'#a1\n -]|\"\"\"|0x|inf|1979-05-27|\\\\u){0,40}") {
            errors(&text);
        }
    }
}
