//! `cargo xtask build`: both halves of wocut.

use std::fs;

use anyhow::{Context as _, Result};

use crate::say::say;
use crate::toolchain::{Fetch, Toolchain};
use crate::workspace::Workspace;
use crate::{command, ebpf};

/// Build the eBPF object from source, where the toolchain is at hand, and then wocut.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build wocut with optimizations
    #[arg(long)]
    release: bool,
    /// Fetch what is missing to build the eBPF object: bpf-linker and the source of Rust's core library
    #[arg(long)]
    fetch: bool,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    match Toolchain::find(workspace, Fetch::when_asked(args.fetch))? {
        Ok(toolchain) => write(workspace, &ebpf::compile(workspace, &toolchain)?)?,
        Err(missing) => say(format_args!("used the checked-in {}: {missing}", ebpf::OBJECT)),
    }
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--locked", "-p", "wocut"]);
    cargo.args(args.release.then_some("--release"));
    command::run(&mut cargo)
}

/// Puts the object where wocut takes it from, leaving an equal one alone so that cargo has nothing to rebuild.
fn write(workspace: &Workspace, object: &[u8]) -> Result<()> {
    let path = workspace.root.join(ebpf::OBJECT);
    if fs::read(&path).is_ok_and(|present| present == object) {
        say(format_args!("{} is up to date ({} bytes)", ebpf::OBJECT, object.len()));
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(&path, object).with_context(|| format!("write {}", path.display()))?;
    say(format_args!("wrote {} ({} bytes)", ebpf::OBJECT, object.len()));
    Ok(())
}
