//! `cargo xtask dist`: what a release is made of.

pub(crate) mod changelog;
pub(crate) mod deb;
pub(crate) mod musl;
mod pages;
mod sbom;
mod sums;
mod tree;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::say::say;
use crate::workspace::Workspace;
use crate::{command, deny, test};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Make a release in target/dist: package, static build, bill of materials, notes, checksums
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the check of licences and origins (`cargo xtask deny`)
    #[arg(long)]
    no_deny: bool,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if !args.no_deny {
        deny::run(workspace, &deny::Args::default())?;
    }
    changelog::check(workspace)?;
    let dist = workspace.target.join("dist");
    make_anew(&dist)?;
    let epoch = epoch(workspace)?;
    let wocut = test::build_wocut(workspace)?;
    deb::build(workspace, &wocut, &dist, deb::Effort::Full { epoch: &epoch })?;
    archive(workspace, &dist, &epoch)?;
    sbom::write(workspace, &dist, &epoch)?;
    changelog::write_notes(workspace, &dist)?;
    sums::write(&dist)?;
    say(format_args!("made {}", dist.display()));
    Ok(())
}

/// Makes what an image for containers is built of: the archive, in a folder of its own.
pub(crate) fn context(workspace: &Workspace, folder: &Path) -> Result<()> {
    make_anew(folder)?;
    archive(workspace, folder, &epoch(workspace)?)
}

fn archive(workspace: &Workspace, folder: &Path, epoch: &str) -> Result<()> {
    let wocut = musl::build(workspace).context("build it static")?;
    tree::pack(workspace, &wocut, folder, epoch)
}

fn make_anew(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))
}

/// When the last change was made: what the files of a release have as their time, so that one commit gives one release.
fn epoch(workspace: &Workspace) -> Result<String> {
    let mut git = std::process::Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(&workspace.root);
    Ok(command::output(&mut git)?.trim().to_owned())
}
