//! What is wrong with a file: where, with the line, and what may be meant.

use std::{fmt, ops::Range};

use serde::Serialize;

use super::source::Source;

/// Problems that are kept; the others are counted.
const KEPT: usize = 50;
/// Characters of a line that are shown.
const WIDTH: usize = 100;

/// Something that is wrong with a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The name of the file, as it was given.
    pub file: String,
    /// From 1; 0 for the whole file.
    pub line: usize,
    /// In characters, from 1; 0 for the whole file.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What may be meant.
    pub hint: Option<String>,
    /// The line and what of it is meant.
    #[serde(skip)]
    pub shown: Option<Box<Shown>>,
    /// What it means for the exit code.
    #[serde(skip)]
    pub(super) kind: Kind,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    text: String,
    /// Characters before what is meant, and of it.
    mark: (usize, usize),
}

/// What a problem is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// The file cannot be read.
    Unread,
    /// It makes no sense.
    #[default]
    Nonsense,
    /// It is in the way of something else.
    Conflict,
}

impl Problem {
    /// Something that is wrong with a file as a whole.
    pub(super) fn of_file(file: &str, kind: Kind, message: impl Into<String>) -> Self {
        Self { file: file.into(), kind, message: message.into(), ..Self::default() }
    }

    /// `FILE:LINE:COLUMN`, or `FILE`.
    pub fn place(&self) -> String {
        match self.line {
            0 => self.file.clone(),
            line => format!("{}:{line}:{}", self.file, self.column),
        }
    }

    /// Where and what, without the line itself.
    pub fn brief(&self) -> String {
        format!("{}: {}", self.place(), self.message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.brief())?;
        if let Some(shown) = &self.shown {
            let Shown { text, mark: (before, width) } = shown.as_ref();
            let number = self.line.to_string();
            let gutter = " ".repeat(number.len());
            write!(f, "\n  {number} | {text}\n  {gutter} | {:before$}{}", "", "^".repeat(*width))?;
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

/// Files are refused, for these reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sum())]
pub struct Refused {
    /// The first ones.
    pub problems: Vec<Problem>,
    /// How many there are beside those.
    pub more: usize,
}

impl Refused {
    pub(super) fn push(&mut self, problem: Problem) {
        if self.problems.len() < KEPT {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn extend(&mut self, other: Self) {
        other.problems.into_iter().for_each(|problem| self.push(problem));
        self.more += other.more;
    }

    fn sum(&self) -> String {
        match (self.count(), self.more) {
            (1, _) => "1 error in the configuration".into(),
            (all, 0) => format!("{all} errors in the configuration"),
            (all, _) => format!("{all} errors in the configuration, of which these are the first {KEPT}"),
        }
    }

    /// How many problems there are.
    pub fn count(&self) -> usize {
        self.problems.len() + self.more
    }

    /// 2 where something makes no sense, 5 where all that is wrong are conflicts, 1 where files could not be read.
    pub fn exit_code(&self) -> u8 {
        let has = |kind| self.problems.iter().any(|problem| problem.kind == kind);
        match () {
            () if has(Kind::Nonsense) => 2,
            () if has(Kind::Unread) => 1,
            () => 5,
        }
    }
}

/// The problems of one file, as they are found. Spans are bytes of its text.
pub(super) struct Problems<'s> {
    pub(super) source: &'s Source,
    pub(super) refused: Refused,
    pub(super) warnings: Vec<Problem>,
}

impl<'s> Problems<'s> {
    pub(super) fn new(source: &'s Source) -> Self {
        Self { source, refused: Refused::default(), warnings: Vec::new() }
    }

    pub(super) fn error(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.error_with_hint(span, message, None);
    }

    pub(super) fn error_with_hint(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        // To find a place costs a walk through the text, which not everybody among many is worth.
        if self.refused.problems.len() < KEPT {
            self.refused.push(Problem { message: message.into(), hint, ..self.at(span) });
        } else {
            self.refused.more += 1;
        }
    }

    pub(super) fn warn(&mut self, span: &Range<usize>, message: impl Into<String>) {
        if self.warnings.len() < KEPT {
            self.warnings.push(Problem { message: message.into(), ..self.at(span) });
        }
    }

    /// A problem there, which says nothing yet.
    pub(super) fn at(&self, span: &Range<usize>) -> Problem {
        let text = self.source.text.as_str();
        let start = floor(text, span.start);
        let begin = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let before = text[begin..start].chars().count();
        let end = floor(text, span.end.min(begin + line.len()).max(start));
        Problem {
            file: self.source.name.clone(),
            line: text[..begin].matches('\n').count() + 1,
            column: before + 1,
            shown: Some(Box::new(Shown::of(line, before, text[start..end].chars().count()))),
            ..Problem::default()
        }
    }
}

impl Shown {
    /// A part of a long line, in which what is meant can be seen.
    fn of(line: &str, before: usize, width: usize) -> Self {
        let from = before.saturating_sub(WIDTH / 2);
        let text: String = line.chars().skip(from).take(WIDTH).map(visible).collect();
        let (before, long) = (before - from, text.chars().count());
        Self { text, mark: (before, width.clamp(1, long.saturating_sub(before).max(1))) }
    }
}

/// The next character boundary at or before a byte.
fn floor(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// One character for one: those that would steer a terminal are dots.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        '\'' | '"' | '\\' => c,
        _ if c.escape_debug().len() == 1 => c,
        _ => '·',
    }
}

/// A text of a file, short and without what would steer a terminal.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(60).map(visible).collect();
    if cut.len() < text.len() && text.chars().nth(60).is_some() { cut + "…" } else { cut }
}

#[cfg(test)]
mod tests {
    use super::{Problem, Problems};
    use crate::config::source::Source;

    fn at(text: &str, span: std::ops::Range<usize>) -> Problem {
        let problem = Problems::new(&Source::toml(text)).at(&span);
        Problem { message: "why".into(), hint: Some("how".into()), ..problem }
    }

    #[test]
    fn line_is_shown_and_marked() {
        let shown = at("a = 1\nä\tbc = 2\n", 9..11).to_string();
        assert_eq!(shown, "test.toml:2:3: why\n  2 | ä bc = 2\n    |   ^^\nhint: how");
    }

    #[test]
    fn long_line_is_cut_around_what_is_meant() {
        let shown = at(&"x".repeat(100_000), 70_000..80_000).to_string();
        assert!(shown.len() < 400 && shown.contains("test.toml:1:70001: why"), "{shown}");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let shown = at("a = \u{1b}[2J\u{202e}\u{7f}\n", 4..5).to_string();
        assert!(shown.contains("a = ·[2J··\n"), "{shown:?}");
    }

    #[test]
    fn no_span_panics() {
        let text = "ä\r\nb\n";
        for start in 0..10 {
            for end in 0..10 {
                assert!(!at(text, start..end).to_string().is_empty());
            }
        }
    }
}
