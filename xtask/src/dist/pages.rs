//! Manual pages, and what shells complete by: wocut writes them itself.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, sysroot};

/// A shell, and where its file is in a system.
pub(super) struct Shell {
    name: &'static str,
    /// The file's name by itself.
    pub(super) file: &'static str,
    /// Its place below `/usr` or `/usr/local`.
    pub(super) place: &'static str,
}

pub(super) const SHELLS: [Shell; 3] = [
    Shell { name: "bash", file: "wocut.bash", place: "share/bash-completion/completions/wocut" },
    Shell { name: "zsh", file: "_wocut", place: "share/zsh/vendor-completions/_wocut" },
    Shell { name: "fish", file: "wocut.fish", place: "share/fish/vendor_completions.d/wocut.fish" },
];

/// Writes all manual pages: `man1/wocut.1` and so on.
pub(super) fn man(wocut: &Path, folder: &Path) -> Result<()> {
    command::run(Command::new(wocut).args(["man", "--out"]).arg(folder))
}

/// Writes what a shell completes by.
pub(super) fn complete(wocut: &Path, shell: &Shell, file: &Path) -> Result<()> {
    let script = command::output(Command::new(wocut).args(["completions", shell.name]))?;
    sysroot::make_parent(file)?;
    std::fs::write(file, script).with_context(|| format!("write {}", file.display()))
}
