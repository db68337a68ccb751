//! The `wocut` command: see the library for what it does.

use std::process::ExitCode;

use wocut::cli::Cli;

fn main() -> ExitCode {
    Cli::read().run()
}
