//! `cargo xtask deny`: licences and origins of all crates, as `.deny.toml` allows them.

use std::process::Command;

use anyhow::Result;

use crate::cargo_tool::CargoTool;
use crate::command;
use crate::workspace::Workspace;

const TOOL: CargoTool = CargoTool::new("cargo-deny", "0.20.2");

/// Check the licences and origins of all crates, and whether there are two of a kind
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Look for known vulnerabilities as well, in a database that is fetched from GitHub
    #[arg(long)]
    advisories: bool,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut deny = Command::new(TOOL.program(workspace)?);
    deny.args(["--locked", "check", "bans", "licenses", "sources"]);
    deny.args(args.advisories.then_some("advisories"));
    command::run(deny.current_dir(&workspace.root))
}
