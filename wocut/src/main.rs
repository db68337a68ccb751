//! The `wocut` command: see the library for what it does.

use std::process::ExitCode;

use clap::Parser as _;
use wocut::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
