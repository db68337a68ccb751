//! The tree that both notations become.

use std::ops::Range;

/// A value and the bytes of the text that it is in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<Node>),
    /// In the order of the notation; no key is there twice.
    Table(Vec<(Key, Node)>),
    /// Something that no key takes: what it is.
    Other(&'static str),
}

/// The key of a value in a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) span: Range<usize>,
    pub(super) name: String,
}

impl Node {
    /// What it is, in words.
    pub(super) fn what(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a text",
            Value::Number(_) => "a number",
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(what) => what,
        }
    }
}
