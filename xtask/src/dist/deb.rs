//! The Debian package. What is in it is in `wocut/Cargo.toml`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::pages;
use crate::cargo_tool::CargoTool;
use crate::command;
use crate::workspace::Workspace;

const TOOL: CargoTool = CargoTool::new("cargo-deb", "3.8.0");

/// Where `wocut/Cargo.toml` expects what is made for the package, in the target folder.
const MADE: &str = "release/package";

/// How well it is packed.
#[derive(Clone, Copy)]
pub(crate) enum Effort<'a> {
    /// For tests.
    Fast,
    /// As small as can be, and the same every time.
    Full { epoch: &'a str },
}

/// Packs a release build, and gives the package's path in the folder.
pub(crate) fn build(
    workspace: &Workspace,
    wocut: &Path,
    folder: &Path,
    effort: Effort<'_>,
) -> Result<PathBuf> {
    let made = workspace.target.join(MADE);
    if made.exists() {
        fs::remove_dir_all(&made).with_context(|| format!("remove {}", made.display()))?;
    }
    pages::man(wocut, &made)?;
    command::run(Command::new("gzip").args(["--best", "--no-name", "--recursive"]).arg(&made))?;
    for shell in pages::SHELLS {
        pages::complete(wocut, &shell, &made.join(shell.file))?;
    }
    let mut deb = Command::new(TOOL.program(workspace)?);
    deb.args(["--no-build", "--package=wocut", "--locked", "--output"]).arg(folder);
    match effort {
        Effort::Fast => deb.arg("--fast"),
        Effort::Full { epoch } => deb.env("SOURCE_DATE_EPOCH", epoch),
    };
    command::output(deb.current_dir(&workspace.root)).map(|path| path.trim().into())
}
