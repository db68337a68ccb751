//! Compiling the kernel half to an object whose bytes depend on the sources alone.
//!
//! The same sources have to give the same bytes in any folder, for any user, because the object is checked in and CI
//! compares. So the toolchain is fixed ([`crate::toolchain`]), every folder that ends up in the object is replaced by a
//! word ([`remaps`]), and the debug information goes ([`crate::strip`]).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::toolchain::Toolchain;
use crate::workspace::Workspace;
use crate::{command, rust_src, strip};

/// The checked-in object.
pub(crate) const OBJECT: &str = "wocut/src/engine/ebpf/wocut.bpf.o";

const TARGET: &str = "bpfel-unknown-none";

/// Compiles the kernel half, and gives the object without debug information.
pub(crate) fn compile(workspace: &Workspace, toolchain: &Toolchain) -> Result<Vec<u8>> {
    command::run(&mut cargo(workspace, toolchain, "build")?)?;
    let linked = target(workspace).join(TARGET).join("release/wocut-ebpf");
    let linked = fs::read(&linked).with_context(|| format!("read {}", linked.display()))?;
    strip::for_loading(&linked)
}

/// A cargo command on the kernel half.
pub(crate) fn cargo(workspace: &Workspace, toolchain: &Toolchain, subcommand: &str) -> Result<Command> {
    let mut cargo = workspace.cargo();
    cargo.args([subcommand, "--locked", "--release", "--package=wocut-ebpf", "--bin=wocut-ebpf"]);
    cargo.args([&format!("--target={TARGET}"), "-Zbuild-std=core", "--target-dir"]);
    cargo.arg(target(workspace));
    // `-Z` on a stable toolchain.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("RUSTC", toolchain.sysroot.join("bin/rustc"));
    cargo.env_remove(rust_src::VARIABLE);
    // clippy-driver stands in for rustc, and is told in this way.
    cargo.env("SYSROOT", &toolchain.sysroot);
    cargo.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker);
    // bpf-linker looks for rustc's LLVM there.
    cargo.env("LD_LIBRARY_PATH", &toolchain.llvm);
    // One unit a crate, so that the way a crate is split cannot matter.
    cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, toolchain)?);
    for wrapper in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(wrapper);
    }
    Ok(cargo)
}

/// A target folder of its own: the flags differ from those of every other build.
fn target(workspace: &Workspace) -> PathBuf {
    workspace.target.join("ebpf")
}

fn flags(workspace: &Workspace, toolchain: &Toolchain) -> Result<OsString> {
    // The architecture chooses the layout of `pt_regs`, which no program here reads: one object serves all little-endian
    // machines.
    let fixed = [r#"--cfg=bpf_target_arch="x86_64""#, "-Cdebuginfo=2", "-Clink-arg=--btf"];
    let mut flags: Vec<_> = fixed.into_iter().map(OsString::from).collect();
    for (folder, word) in remaps(workspace, toolchain)? {
        // Cargo names a file in the checkout by its path from there.
        let inside = folder.strip_prefix(&workspace.root).ok().filter(|path| *path != Path::new(""));
        flags.extend([Some(folder.as_path()), inside].into_iter().flatten().map(|path| {
            let remap = ["--remap-path-prefix=".as_ref(), path.as_os_str(), "=".as_ref(), word.as_ref()];
            remap.into_iter().collect::<OsString>()
        }));
    }
    Ok(flags.join("\x1f".as_ref()))
}

/// The folders that differ between machines, and what stands for them in the object; the last that fits a path counts.
fn remaps(workspace: &Workspace, toolchain: &Toolchain) -> Result<Vec<(PathBuf, &'static str)>> {
    let mut remaps = vec![
        (workspace.root.clone(), "."),
        (target(workspace), "target"),
        (toolchain.sysroot.join(rust_src::IN_SYSROOT), "library"),
    ];
    remaps.extend(crates(workspace)?.into_iter().map(|folder| (folder, "crates")));
    Ok(remaps)
}

/// The folders that the sources of the dependencies lie in.
fn crates(workspace: &Workspace) -> Result<BTreeSet<PathBuf>> {
    let mut metadata = workspace.cargo();
    metadata.args(["metadata", "--locked", "--format-version=1", "--filter-platform", TARGET]);
    let metadata = command::output(&mut metadata)?;
    let metadata: Value = serde_json::from_str(&metadata).context("read what cargo metadata says")?;
    let packages = metadata["packages"].as_array().context("find the packages")?;
    let foreign = packages.iter().filter(|package| !package["source"].is_null());
    let manifests = foreign.filter_map(|package| package["manifest_path"].as_str());
    Ok(manifests.filter_map(|path| Some(Path::new(path).parent()?.parent()?.to_owned())).collect())
}
