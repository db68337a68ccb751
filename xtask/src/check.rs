//! `cargo xtask check`: what CI looks at before it runs a test.

use anyhow::{Context as _, Result};

use crate::command;
use crate::say::say;
use crate::toolchain::{Fetch, Toolchain};
use crate::workspace::Workspace;
use crate::{bench, check_ebpf, dist, ebpf};

const CLIPPY: [&str; 5] = ["clippy", "--locked", "--workspace", "--exclude=wocut-ebpf", "--all-targets"];
const DENY: [&str; 3] = ["--", "-D", "warnings"];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    command::run(workspace.cargo().args(["fmt", "--all", "--check"])).context("hint: run cargo fmt --all")?;
    command::run(workspace.cargo().args(CLIPPY).args(DENY))?;
    match Toolchain::find(workspace, Fetch::in_ci())? {
        Ok(toolchain) => {
            let mut clippy = ebpf::cargo(workspace, &toolchain, "clippy")?;
            command::run(clippy.args(DENY))?;
        }
        Err(missing) => say(format_args!("did not lint wocut-ebpf: {missing}")),
    }
    bench::check(workspace)?;
    dist::changelog::check(workspace)?;
    check_ebpf::run(workspace, &check_ebpf::Args::default())
}
