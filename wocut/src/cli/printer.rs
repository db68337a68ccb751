//! Decides every byte that is written: data to standard output, the rest to standard error.

use std::{
    env,
    ffi::OsString,
    io::{self, ErrorKind, IsTerminal as _, Write},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use clap::{ColorChoice, ValueEnum};
use serde::Serialize;

use crate::{
    config::Refused,
    engine::ebpf::trace::Pick,
    error::{causes, conflicts, hint},
    host::Done,
    model::Name,
};

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// What a command line asks for. It is looked at before the rest of it is read, because what is said of one that
    /// makes no sense has colours too.
    pub(super) fn asked(words: impl IntoIterator<Item = OsString>) -> Self {
        let mut words =
            words.into_iter().map_while(|word| word.into_string().ok()).take_while(|word| word != "--");
        let mut color = Self::default();
        while let Some(word) = words.next() {
            let when = match word.strip_prefix("--color") {
                Some("") => words.next(),
                Some(rest) => rest.strip_prefix('=').map(ToOwned::to_owned),
                None => None,
            };
            color = when.and_then(|when| Self::from_str(&when, false).ok()).unwrap_or(color);
        }
        color
    }
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

/// What a row says at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// Out of use because somebody wanted it so.
    Off,
    /// Out of use because something is wrong.
    Bad,
}

type Stream = Mutex<Box<dyn Write + Send>>;

pub(super) struct Printer {
    json: bool,
    quiet: bool,
    color: bool,
    out: Stream,
    err: Stream,
}

impl Printer {
    pub(super) fn new(json: bool, quiet: bool, color: Color) -> Self {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                io::stdout().is_terminal() && !set("NO_COLOR") && env::var_os("TERM") != Some("dumb".into())
            }
        };
        Self::to(json, quiet, color, io::stdout(), io::stderr())
    }

    /// One that writes elsewhere than to the streams of this process.
    pub(super) fn to(
        json: bool,
        quiet: bool,
        color: bool,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Self {
        let [out, err] = [Box::new(out) as Box<dyn Write + Send>, Box::new(err)].map(Mutex::new);
        Self { json, quiet, color: color && !json, out, err }
    }

    /// Whether JSON is wanted.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Whether colours are wanted.
    pub(super) fn color(&self) -> bool {
        self.color
    }

    /// One line of data.
    pub(super) fn line(&self, line: &str) -> anyhow::Result<()> {
        self.write(&format!("{line}\n"))
    }

    /// One line of data that goes on and on. False: nobody reads this any more.
    pub(super) fn live(&self, line: &str) -> bool {
        put(&self.out, &format!("{line}\n")).is_ok()
    }

    /// Text as it is.
    pub(super) fn text(&self, text: &str) -> anyhow::Result<()> {
        self.write(text)
    }

    /// One line that says how it went.
    pub(super) fn said(&self, line: &str) -> anyhow::Result<()> {
        if self.quiet { Ok(()) } else { self.line(line) }
    }

    /// One JSON document.
    pub(super) fn object(&self, object: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(object).context("print JSON")?;
        self.write(&(text + "\n"))
    }

    /// What a verb did, or would do.
    pub(super) fn change(&self, done: &Done, dry_run: bool) -> anyhow::Result<()> {
        done.notes.iter().for_each(|note| self.note(note));
        for warning in &done.warnings {
            self.complain(&format!("warning: {warning}"));
        }
        let would = if dry_run { "would: " } else { "" };
        if self.json {
            let Done { line, warnings, steps, connections, notes: _ } = done;
            let mut object = serde_json::json!({
                "schema": 1, "dry_run": dry_run, "change": line, "steps": steps, "warnings": warnings,
            });
            if let Some(connections) = connections {
                object["left"] = connections.left.into();
                object["killed"] = connections.killed.into();
            }
            return self.object(&object);
        }
        if self.quiet {
            return Ok(());
        }
        done.steps.iter().try_for_each(|step| self.line(&format!("{would}{step}")))?;
        done.line.lines().try_for_each(|line| self.line(&format!("{would}{line}")))
    }

    /// A pick, as it happens. False: nobody reads this any more.
    pub(super) fn pick(&self, service: &Name, pick: &Pick, instance: Option<&str>, why: &str) -> bool {
        let client = SocketAddr::new(pick.client, pick.client_port);
        let line = if self.json {
            let object = serde_json::json!({
                "client": client, "service": service, "instance": instance, "why": why,
            });
            object.to_string()
        } else {
            format!("{client:<24} {service} {:<12} {why}", instance.unwrap_or("(nobody)"))
        };
        self.live(&line)
    }

    /// A table, its columns aligned.
    pub(super) fn table(&self, table: &Table) -> anyhow::Result<()> {
        self.write(&table.render(self.color))
    }

    /// Something to know that is not data.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// Why a command failed.
    pub(super) fn error(&self, error: &anyhow::Error) {
        let causes = causes(error);
        let problems = error.downcast_ref::<Refused>().map(|refused| refused.problems.as_slice());
        if self.json {
            let mut object = serde_json::json!({ "schema": 1, "error": causes, "hint": hint(error) });
            if let Some(problems) = problems {
                object["problems"] = serde_json::json!(problems);
            }
            if !conflicts(error).is_empty() {
                object["conflicts"] = serde_json::json!(conflicts(error));
            }
            return self.complain(&object.to_string());
        }
        problems.into_iter().flatten().for_each(|problem| self.complain(&format!("error: {problem}")));
        for (i, cause) in causes.iter().enumerate() {
            self.complain(&format!("{}: {cause}", if i == 0 { "error" } else { "  caused by" }));
        }
        for conflict in conflicts(error) {
            self.complain(&format!("  conflict: {conflict}"));
        }
        if let Some(hint) = hint(error) {
            self.complain(&format!("hint: {hint}"));
        }
    }

    fn write(&self, text: &str) -> anyhow::Result<()> {
        match put(&self.out, text) {
            // Whoever read this has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.context("write to standard output"),
        }
    }

    fn complain(&self, line: &str) {
        // Where standard error is closed there is nobody to tell.
        let _unheard = put(&self.err, &format!("{line}\n"));
    }
}

fn put(stream: &Stream, text: &str) -> io::Result<()> {
    stream.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes())
}

/// What a program that goes on and on says.
pub(super) fn complain(line: &str) {
    let _unheard = io::stderr().write_all(format!("{line}\n").as_bytes());
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under a header.
#[derive(Debug)]
pub(super) struct Table {
    align: Vec<Align>,
    rows: Vec<(Style, Vec<String>)>,
}

impl Table {
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        let header = columns.iter().map(|(name, _)| (*name).into()).collect();
        Self { align: columns.iter().map(|(_, align)| *align).collect(), rows: vec![(Style::Plain, header)] }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.styled_row(Style::Plain, cells);
    }

    pub(super) fn styled_row<const N: usize>(&mut self, style: Style, cells: [String; N]) {
        self.rows.push((style, cells.into()));
    }

    fn render(&self, color: bool) -> String {
        let width = |column: usize| self.rows.iter().map(|(_, cells)| cells[column].chars().count()).max();
        let widths: Vec<usize> = (0..self.align.len()).filter_map(width).collect();
        let mut text = String::new();
        for (style, cells) in &self.rows {
            let columns = cells.iter().zip(&widths).zip(&self.align);
            let padded: Vec<String> = columns
                .map(|((cell, &width), align)| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                })
                .collect();
            let line = padded.join("  ");
            match (color, style) {
                (true, Style::Off) => text.extend(["\x1b[33m", line.trim_end(), "\x1b[0m\n"]),
                (true, Style::Bad) => text.extend(["\x1b[31m", line.trim_end(), "\x1b[0m\n"]),
                _ => text.extend([line.trim_end(), "\n"]),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Align, Color, Style, Table};

    #[test]
    fn colour_is_told_from_a_command_line_that_is_not_read_yet() {
        let asked = |line: &str| Color::asked(line.split(' ').map(Into::into));
        assert_eq!(asked("wocut status"), Color::Auto);
        assert_eq!(asked("wocut --color never statsu"), Color::Never);
        assert_eq!(asked("wocut status --color=never --color=always"), Color::Always);
        assert_eq!(asked("wocut status --color=sometimes"), Color::Auto);
        assert_eq!(asked("wocut status -- --color=never"), Color::Auto);
    }

    #[test]
    fn columns_are_aligned_and_colour_is_only_added() {
        let mut table = Table::new(&[("NAME", Align::Left), ("PICKED", Align::Right)]);
        table.row(["web".into(), "7".into()]);
        table.styled_row(Style::Bad, ["canary".into(), "4711".into()]);
        assert_eq!(table.render(false), "NAME    PICKED\nweb          7\ncanary    4711\n");
        assert_eq!(table.render(true), "NAME    PICKED\nweb          7\n\x1b[31mcanary    4711\x1b[0m\n");
    }
}
