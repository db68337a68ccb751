//! YAML becomes a tree: plain mappings, lists and texts. Whatever else YAML can do is refused.

use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::{
    node::{Key, Node, Value},
    problem::{Problems, shown},
};

/// How deep values may stand in each other; the original's files need two.
const MAX_DEPTH: usize = 8;
/// Keys of one table; the original knows seven.
const MAX_KEYS: usize = 64;

/// What was opened and is not closed yet.
enum Open {
    List(Range<usize>, Vec<Node>),
    Table(Range<usize>, Vec<(Key, Node)>, Option<Key>),
}

/// The tree of the text, or nothing when its notation is wrong.
pub(super) fn parse(problems: &mut Problems<'_>) -> Option<Node> {
    let text = problems.source.text.as_str();
    let bytes = Bytes::of(text);
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok((event, span)) => (event, bytes.span(span)),
            Err(error) => {
                let at = bytes.at(*error.marker());
                problems.error(&(at..at + 1), shown(error.info()));
                return None;
            }
        };
        let done = match event {
            Event::Alias(_) => return refuse(problems, &span, "an alias"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                return refuse(problems, &span, "an anchor");
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => return refuse(problems, &span, "a tag"),
            Event::DocumentStart(_) if root.is_some() => return refuse(problems, &span, "a second document"),
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == MAX_DEPTH => {
                return refuse(problems, &span, "a value so deep in others");
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(span, Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Table(span, Vec::new(), None));
                continue;
            }
            Event::Scalar(text, style, ..) => {
                let nothing = style == ScalarStyle::Plain && matches!(text.as_ref(), "" | "~" | "null");
                let value = if nothing { Value::Other("nothing") } else { Value::Text(text.into()) };
                Node { span, value }
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(begin, list)) => {
                    Node { span: begin.start..span.end, value: Value::List(list) }
                }
                Some(Open::Table(begin, table, _)) => {
                    Node { span: begin.start..span.end, value: Value::Table(table) }
                }
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None => root = Some(done),
            Some(Open::List(_, list)) => list.push(done),
            Some(Open::Table(_, table, pending)) => match (pending.take(), done) {
                (Some(key), value) => table.push((key, value)),
                (None, Node { span, .. }) if table.len() == MAX_KEYS => {
                    return refuse(problems, &span, "one more key");
                }
                (None, Node { span, value: Value::Text(name) }) => {
                    if table.iter().any(|(key, _)| key.name == name) {
                        problems.error(&span, format!("key `{}` is there twice", shown(&name)));
                        return None;
                    }
                    *pending = Some(Key { span, name });
                }
                (None, Node { span, .. }) => {
                    problems.error(&span, "a key is a text");
                    return None;
                }
            },
        }
    }
    if root.is_none() {
        problems.error(&(0..0), "there is nothing in it");
    }
    root
}

fn refuse(problems: &mut Problems<'_>, span: &Range<usize>, what: &str) -> Option<Node> {
    problems.error(span, format!("{what}: wocut reads plain keys, texts and lists"));
    None
}

/// The parser counts characters, and a span is bytes.
struct Bytes(Vec<usize>);

impl Bytes {
    fn of(text: &str) -> Self {
        Self(text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect())
    }

    fn at(&self, marker: Marker) -> usize {
        let end = self.0.last().copied().unwrap_or_default();
        self.0.get(marker.index()).copied().unwrap_or(end)
    }

    fn span(&self, span: Span) -> Range<usize> {
        self.at(span.start)..self.at(span.end)
    }
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
        let source = Source::original("web", text);
        let mut problems = Problems::new(&source);
        let tree = parse(&mut problems);
        assert_eq!(tree.is_none(), problems.refused.count() > 0);
        problems.refused.problems.iter().map(Problem::brief).collect()
    }

    #[test]
    fn what_yaml_can_do_beyond_a_tree_is_refused() {
        for (text, why) in [
            ("a: &x 1\nb: *x\n", "web.wocut:1:4: an anchor"),
            ("a: *x\n", "web.wocut:1:4: "),
            ("ä: !!int 1\n", "web.wocut:1:4: a tag"),
            ("a: 1\n---\nb: 1\n", "web.wocut:2:1: a second document"),
            ("[[[[[[[[[[1]]]]]]]]]]", "web.wocut:1:9: a value so deep"),
            ("a: 1\na: 2\n", "web.wocut:2:1: key `a` is there twice"),
            ("[a]: 1\n", "web.wocut:1:1: a key is a text"),
            ("", "there is nothing in it"),
            ("# only\n", "there is nothing in it"),
            ("a: \"b\n", "web.wocut:1:4: "),
        ] {
            let said = errors(text).join("\n");
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn depth_ends_in_an_error() {
        for text in ["[", "{a: ", "- ", "? ", "a:\n "].map(|open| open.repeat(100_000)) {
            assert!(!errors(&text).is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|([\\[\\]{}:,\"'#a1\n -]|&x|\\*x|!t|---|\\.\\.\\.|\\?|\\||>|%|\t|\\\\u){0,40}") {
            errors(&text);
        }
    }
}
