//! `cargo xtask check-ebpf`: the checked-in object is what the source gives.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::ebpf;
use crate::say::say;
use crate::toolchain::{Fetch, Toolchain};
use crate::workspace::Workspace;

/// Build the eBPF object from source and compare it with the checked-in one, byte for byte.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Fetch what is missing to build the object (with CI=true: always)
    #[arg(long)]
    fetch: bool,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let fetch = if args.fetch { Fetch::Must } else { Fetch::in_ci() };
    match Toolchain::find(workspace, fetch)? {
        Ok(toolchain) => compare(workspace, &ebpf::compile(workspace, &toolchain)?),
        Err(missing) => {
            say(format_args!("did not compare {} with its source: {missing}", ebpf::OBJECT));
            Ok(())
        }
    }
}

fn compare(workspace: &Workspace, built: &[u8]) -> Result<()> {
    let path = workspace.root.join(ebpf::OBJECT);
    let present = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    ensure!(
        present == built,
        "{object} ({} bytes) is not what the source gives ({} bytes)\nhint: run cargo xtask build and commit {object}",
        present.len(),
        built.len(),
        object = ebpf::OBJECT,
    );
    say(format_args!("{} is what the source gives ({} bytes)", ebpf::OBJECT, built.len()));
    Ok(())
}
