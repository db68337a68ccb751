//! The checkout: where it is, and where cargo puts what it builds.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command;

/// The checkout that `cargo xtask` was started in.
pub(crate) struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, which may be shared between checkouts.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the checkout through the variables that cargo sets for the programs it runs.
    pub(crate) fn find() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR").context("start this as `cargo xtask`")?;
        let root = Path::new(&package).parent().context("find the workspace's folder")?.to_owned();
        let mut metadata = cargo(&root);
        metadata.args(["metadata", "--no-deps", "--format-version=1"]);
        // Not through `command`: every task asks this first, and nobody wants to see it.
        let metadata = metadata.output().context("run cargo metadata")?;
        let metadata: Value = serde_json::from_slice(&metadata.stdout)
            .with_context(|| String::from_utf8_lossy(&metadata.stderr).into_owned())
            .context("read what cargo metadata says")?;
        let target = metadata["target_directory"].as_str().context("find the target folder")?;
        Ok(Self { root, target: target.into() })
    }

    /// The cargo that started this program, to be run in the checkout.
    pub(crate) fn cargo(&self) -> Command {
        cargo(&self.root)
    }

    /// Where tools go that are fetched for this checkout only.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Runs a `cargo build` or `cargo test --no-run`, and gives the path of the program it made for one target.
    pub(crate) fn program(&self, arguments: &[&str], target: &str) -> Result<PathBuf> {
        let mut cargo = self.cargo();
        cargo.args(arguments).arg("--message-format=json-render-diagnostics");
        let messages = command::output(&mut cargo)?;
        let program = messages.lines().find_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let named = message["target"]["name"] == target;
            message["executable"].as_str().filter(|_| named).map(PathBuf::from)
        });
        program.with_context(|| format!("find the program {target} among what cargo built"))
    }
}

fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo said of this package is a change to build scripts that look at it: they would run, and build, again.
    let of_this = |name: &OsStr| {
        name.to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    };
    for (name, _) in env::vars_os().filter(|(name, _)| of_this(name)) {
        cargo.env_remove(name);
    }
    cargo.current_dir(root);
    cargo
}

/// Where a program is in `PATH`, or in the administrator's folders, which a user's `PATH` may lack.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::which;

    #[test]
    fn a_program_is_found_in_path() {
        assert!(which("sh").is_some());
        assert!(which("no-program-has-this-name").is_none());
    }
}
