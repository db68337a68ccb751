//! Takes a tree apart: every key is known, and every value what its key wants.

use std::{
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
    str::FromStr,
};

use super::{
    node::{Key, Node, Value},
    problem::{Problems, shown},
};
use crate::model::ParseError;

/// The entries of a table.
pub(super) struct Fields<'n> {
    span: &'n Range<usize>,
    entries: BTreeMap<&'n str, (&'n Key, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.get(key).map(|(_, node)| *node)
    }

    /// Where a key is.
    pub(super) fn key(&self, key: &str) -> Option<&'n Range<usize>> {
        self.entries.get(key).map(|(key, _)| &key.span)
    }

    /// The value of a key that has to be there. `span` is what lacks it.
    pub(super) fn must(
        &self,
        key: &str,
        span: &Range<usize>,
        problems: &mut Problems<'_>,
    ) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            problems.error(span, format!("`{key}` is missing"));
        }
        found
    }

    /// Where the table is.
    pub(super) fn span(&self) -> &'n Range<usize> {
        self.span
    }
}

impl Problems<'_> {
    /// The entries of a table, whose keys are these. Others are errors, and the known ones are there all the same.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, known: &[&str]) -> Option<Fields<'n>> {
        let table = self.table(node)?;
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let hint = match nearest(&key.name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", quoted(known)),
            };
            self.error_with_hint(&key.span, format!("unknown key `{}`", shown(&key.name)), Some(hint));
        }
        let entries = table.iter().map(|(key, node)| (key.name.as_str(), (key, node))).collect();
        Some(Fields { span: &node.span, entries })
    }

    pub(super) fn table<'n>(&mut self, node: &'n Node) -> Option<&'n [(Key, Node)]> {
        match &node.value {
            Value::Table(table) => Some(table),
            _ => self.wants(node, "a table"),
        }
    }

    /// A list with something in it.
    pub(super) fn list<'n>(&mut self, node: &'n Node, example: &str) -> Option<&'n [Node]> {
        match self.any_list(node, example)? {
            [] => self.wants(node, &format!("at least one, as in `{example}`")),
            list => Some(list),
        }
    }

    /// A list.
    pub(super) fn any_list<'n>(&mut self, node: &'n Node, example: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(list) => Some(list),
            _ => self.wants(node, &format!("a list, as in `{example}`")),
        }
    }

    /// What each of a list is, if all of them are.
    pub(super) fn each<T>(
        &mut self,
        list: &[Node],
        mut one: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        // All of them are looked at, so that all errors are found.
        let all: Vec<Option<T>> = list.iter().map(|node| one(self, node)).collect();
        all.into_iter().collect()
    }

    pub(super) fn flag(&mut self, node: &Node) -> Option<bool> {
        match node.value {
            Value::Flag(flag) => Some(flag),
            _ => self.wants(node, "true or false"),
        }
    }

    /// A number within bounds that fit the type.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        node: &Node,
        what: &str,
        bounds: RangeInclusive<i64>,
    ) -> Option<T> {
        let wanted = format!("{what} from {} to {}", bounds.start(), bounds.end());
        let Value::Number(number) = node.value else { return self.wants(node, &wanted) };
        let within =
            Some(number).filter(|number| bounds.contains(number)).and_then(|it| T::try_from(it).ok());
        if within.is_none() {
            self.error(&node.span, format!("it is {wanted}, not {number}"));
        }
        within
    }

    /// A text that is a type's.
    pub(super) fn parse<T: FromStr<Err = ParseError>>(&mut self, node: &Node) -> Option<T> {
        match &node.value {
            Value::Text(text) => self.parsed(&node.span, text),
            _ => self.wants(node, "a text"),
        }
    }

    pub(super) fn parsed<T: FromStr<Err = ParseError>>(
        &mut self,
        span: &Range<usize>,
        text: &str,
    ) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(span, error.to_string());
                None
            }
        }
    }

    pub(super) fn wants<T>(&mut self, node: &Node, what: &str) -> Option<T> {
        self.error(&node.span, format!("it is {what}, not {}", node.what()));
        None
    }
}

/// The known word that was most likely meant, if any is near.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // The comparison takes the product of both lengths.
    if word.len() > 32 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let distance = |key: &str| strsim::osa_distance(&word, key);
    let near = known.iter().map(|key| (distance(key), *key)).min()?;
    let begins = || known.iter().find(|key| word.len() > 2 && key.starts_with(&word)).copied();
    if near.0 <= (near.1.len() / 3).max(1) { Some(near.1) } else { begins() }
}

/// `a`, `b` and `c`.
pub(super) fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_errors_are_guessed_and_nonsense_is_not() {
        let known = ["listen", "instances", "policy", "sticky_prefix", "on_empty", "guard"];
        for (typed, meant) in [
            ("listne", Some("listen")),
            ("Listen", Some("listen")),
            ("instance", Some("instances")),
            ("sticky-prefix", Some("sticky_prefix")),
            ("sticky", Some("sticky_prefix")),
            ("gaurd", Some("guard")),
            ("timeout", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), &known), None);
    }
}
