//! What a test measures, for people to read.

use std::fmt::Display;

/// Prints a line, which the test runner shows when the test fails or is run with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the test runner keeps it where it belongs")]
pub fn note(figures: impl Display) {
    println!("{figures}");
}
