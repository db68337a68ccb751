//! What it takes to compile the kernel half: one rustc, the source of its core library, and bpf-linker.
//!
//! The versions are exact, because the object is compared byte for byte.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Workspace, which};
use crate::{command, rust_src, sysroot};

/// The first line of `rustc -vV`, and the machine that rustc runs on: both go into the names of symbols.
const RUSTC: &str = "rustc 1.95.0 (59807616e 2026-04-14)";
const HOST: &str = "x86_64-unknown-linux-gnu";
pub(crate) const RELEASE: &str = "1.95.0";

/// The newest bpf-linker that uses rustc's own LLVM.
const LINKER: &str = "0.10.4";

/// A complete toolchain.
pub(crate) struct Toolchain {
    /// The compiler's files, with the source of the core library among them.
    pub(crate) sysroot: PathBuf,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
    /// The folder with rustc's LLVM.
    pub(crate) llvm: PathBuf,
}

/// Whether missing parts may be fetched.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Fetch {
    Never,
    /// Fetch, and go on without the toolchain where that fails.
    Try,
    /// Fetch, or fail.
    Must,
}

impl Fetch {
    /// Fetch when the user says so.
    pub(crate) fn when_asked(asked: bool) -> Self {
        if asked { Self::Must } else { Self::Never }
    }

    /// Fetch in CI.
    pub(crate) fn in_ci() -> Self {
        if env::var_os("CI").is_some_and(|ci| ci == "true") { Self::Try } else { Self::Never }
    }
}

/// Why there is no toolchain, in words for the user.
pub(crate) type Missing = String;

impl Toolchain {
    /// Finds the toolchain, or says what is missing.
    pub(crate) fn find(workspace: &Workspace, fetch: Fetch) -> Result<Result<Self, Missing>> {
        match Self::assemble(workspace, fetch != Fetch::Never) {
            Ok(toolchain) => Ok(Ok(toolchain)),
            Err(error) if fetch == Fetch::Must => Err(error.context("get the eBPF toolchain")),
            Err(error) => Ok(Err(format!("{error:#}"))),
        }
    }

    fn assemble(workspace: &Workspace, fetch: bool) -> Result<Self> {
        let (real, sysroot) = sysroots(workspace, fetch)?;
        let linker = linker(workspace, fetch)?;
        if sysroot != real {
            sysroot::imitate(&real, &sysroot).context("make a sysroot with source")?;
        }
        Ok(Self { sysroot, linker, llvm: real.join("lib") })
    }
}

/// Where the compiler's files are, if it is the right compiler, and where they are with source, which may be elsewhere.
pub(crate) fn sysroots(workspace: &Workspace, fetch: bool) -> Result<(PathBuf, PathBuf)> {
    let real = real_sysroot(workspace)?;
    let with_source = rust_src::find(workspace, &real, fetch)?;
    Ok((real, with_source))
}

/// Where the compiler's files are, if it is the right compiler.
fn real_sysroot(workspace: &Workspace) -> Result<PathBuf> {
    let version = rustc(workspace, &["-vV"])?;
    let first = version.lines().next().unwrap_or_default();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    if (first, host) != (RUSTC, HOST) {
        bail!("it takes {RUSTC} on {HOST}, and this is {first} on {host}");
    }
    Ok(rustc(workspace, &["--print=sysroot"])?.trim_end().into())
}

fn rustc(workspace: &Workspace, arguments: &[&str]) -> Result<String> {
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command::output(rustc.args(arguments).current_dir(&workspace.root))
}

/// bpf-linker from `PATH`, or else our own.
fn linker(workspace: &Workspace, fetch: bool) -> Result<PathBuf> {
    let own = workspace.tools().join("bin/bpf-linker");
    let mut candidates = which("bpf-linker").into_iter().chain([own.clone()]);
    if let Some(found) = candidates.find(|linker| is_right(linker)) {
        return Ok(found);
    }
    if !fetch {
        bail!("bpf-linker {LINKER} is missing (cargo install bpf-linker --version {LINKER} --locked)");
    }
    let mut install = workspace.cargo();
    install.args(["install", "bpf-linker", "--version", LINKER, "--locked", "--root"]);
    command::run(install.arg(workspace.tools())).context("install bpf-linker")?;
    Ok(own)
}

fn is_right(linker: &Path) -> bool {
    let version = Command::new(linker).arg("--version").output();
    version.is_ok_and(|output| output.stdout.trim_ascii() == format!("bpf-linker {LINKER}").as_bytes())
}
