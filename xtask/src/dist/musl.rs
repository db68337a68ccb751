//! A build that needs no C library where it runs: static, on musl.
//!
//! Rust's standard library for it is compiled from source, as the core library for the kernel half is, so that it takes
//! the one compiler and packages of Debian. What a link takes besides is put where rustc has it for targets that bring
//! their own: musl, and GCC's unwinder from before it asked glibc 2.35 for its tables (`_dl_find_object`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::workspace::Workspace;
use crate::{command, debian, rust_src, sysroot, toolchain};

pub(super) const TARGET: &str = "x86_64-unknown-linux-musl";

/// Suites and packages of Debian.
const PACKAGES: [(&str, &str); 2] = [("trixie", "musl-dev"), ("bullseye", "libgcc-10-dev")];

const MUSL: &str = "usr/lib/x86_64-linux-musl";
const GCC: &str = "usr/lib/gcc/x86_64-linux-gnu/10";

/// What is linked: where it is in the packages, and the name that rustc looks for.
const OBJECTS: [(&str, &str, &str); 10] = [
    (MUSL, "crt1.o", "crt1.o"),
    (MUSL, "rcrt1.o", "rcrt1.o"),
    (MUSL, "crti.o", "crti.o"),
    (MUSL, "crtn.o", "crtn.o"),
    (MUSL, "libc.a", "libc.a"),
    (GCC, "crtbegin.o", "crtbegin.o"),
    (GCC, "crtbeginS.o", "crtbeginS.o"),
    (GCC, "crtend.o", "crtend.o"),
    (GCC, "crtendS.o", "crtendS.o"),
    (GCC, "libgcc_eh.a", "libunwind.a"),
];

/// Functions `pthread_…` that the unwinder calls if any of them is linked, and does not have linked itself.
const ASKED_FOR: [&str; 6] =
    ["once", "mutex_lock", "mutex_unlock", "key_create", "getspecific", "setspecific"];

/// Builds the command.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let packages = packages(workspace)?;
    let sysroot = sysroot_with(workspace, &packages)?;
    let target = workspace.target.join("musl");
    let mut cargo = workspace.cargo();
    cargo.args(["rustc", "--locked", "--release", "--package=wocut", "--bin=wocut", "--target", TARGET]);
    cargo.args(["-Zbuild-std=std,panic_unwind", "--target-dir"]).arg(&target);
    // `-Z` on a stable toolchain.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("RUSTC", sysroot.join("bin/rustc")).env_remove(rust_src::VARIABLE);
    // For what ring has in C: headers of this C library, and those of the compiler itself.
    let own = command::output(Command::new("cc").arg("-print-file-name=include"))?;
    let headers = packages.join("usr/include/x86_64-linux-musl");
    let flags = format!("-nostdinc -isystem {} -isystem {}", headers.display(), own.trim());
    cargo.env(format!("CC_{TARGET}"), "cc").env(format!("CFLAGS_{TARGET}"), flags);
    cargo.arg("--").args(ASKED_FOR.map(|name| format!("-Clink-arg=-Wl,--undefined=pthread_{name}")));
    command::run(&mut cargo)?;
    let wocut = target.join(TARGET).join("release/wocut");
    expect_static(&wocut)?;
    Ok(wocut)
}

/// The packages' files.
fn packages(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.tools().join("musl");
    if folder.exists() {
        return Ok(folder);
    }
    let new = folder.with_added_extension("new");
    for (suite, package) in PACKAGES {
        let download = new.join("download").join(package);
        let file = debian::download(suite, package, &download)?;
        command::run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&new))?;
    }
    let download = new.join("download");
    fs::remove_dir_all(&download).with_context(|| format!("remove {}", download.display()))?;
    fs::rename(&new, &folder).with_context(|| format!("move the packages to {}", folder.display()))?;
    Ok(folder)
}

/// The compiler's files, with the source of the library and what a link takes.
fn sysroot_with(workspace: &Workspace, packages: &Path) -> Result<PathBuf> {
    let (real, source) = toolchain::sysroots(workspace, true)?;
    let ours = workspace.tools().join("sysroot-musl");
    sysroot::link(&source.join(rust_src::IN_SYSROOT), &ours.join(rust_src::IN_SYSROOT))?;
    sysroot::imitate(&real, &ours)?;
    let linked = ours.join("lib/rustlib").join(TARGET).join("lib/self-contained");
    for (folder, from, to) in OBJECTS {
        sysroot::link(&packages.join(folder).join(from), &linked.join(to))?;
    }
    Ok(ours)
}

fn expect_static(wocut: &Path) -> Result<()> {
    let headers = command::output(Command::new("readelf").args(["--program-headers", "--wide"]).arg(wocut))?;
    ensure!(!headers.contains("INTERP"), "{} asks for a loader: it is not static", wocut.display());
    Ok(())
}
