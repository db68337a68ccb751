//! Tools that come as crates: each in one version, for this checkout only.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::command;
use crate::workspace::Workspace;

/// A subcommand of cargo.
pub(crate) struct CargoTool {
    name: &'static str,
    version: &'static str,
}

impl CargoTool {
    pub(crate) const fn new(name: &'static str, version: &'static str) -> Self {
        Self { name, version }
    }

    /// Its program, which is installed first if it is not there.
    pub(crate) fn program(&self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { name, version } = self;
        let root = workspace.tools().join(format!("{name}-{version}"));
        let program = root.join("bin").join(name);
        if !program.is_file() {
            let mut install = workspace.cargo();
            install.args(["install", name, "--version", version, "--locked", "--root"]).arg(root);
            command::run(&mut install).with_context(|| format!("install {name}"))?;
        }
        Ok(program)
    }
}
