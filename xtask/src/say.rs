//! The one place that writes to the terminal.

use std::fmt::Display;

/// Writes one line to stderr.
#[expect(clippy::print_stderr, reason = "every message of xtask comes through here")]
pub(crate) fn say(line: impl Display) {
    eprintln!("{line}");
}
