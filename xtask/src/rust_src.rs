//! The source of Rust's core library, which is compiled for the BPF target because no compiled one is distributed.
//!
//! It is part of the toolchain where rustup's component `rust-src` is installed. Else it comes from Debian's package of
//! the same name, which is unpacked and not installed: its core library is upstream's, unchanged.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::apt::Distribution;
use crate::say::say;
use crate::toolchain::RELEASE;
use crate::workspace::{Workspace, which};
use crate::{command, debian, sysroot};

/// Where the source is inside a sysroot.
pub(crate) const IN_SYSROOT: &str = "lib/rustlib/src/rust/library";

/// Cargo's own variable for a source elsewhere.
pub(crate) const VARIABLE: &str = "__CARGO_TESTS_ONLY_SRC_ROOT";

/// The suite of Debian that has several releases of Rust.
const SUITE: &str = "trixie-backports";

/// Finds a folder with the source in the place that a sysroot has it in, or says that it is missing.
pub(crate) fn find(workspace: &Workspace, real: &Path, fetch: bool) -> Result<PathBuf> {
    let own = workspace.tools().join(format!("sysroot-{RELEASE}"));
    if let Some(source) = env::var_os(VARIABLE) {
        let linked = workspace.tools().join("sysroot-given");
        sysroot::link(Path::new(&source), &linked.join(IN_SYSROOT))?;
        ensure!(is_complete(&linked), "{VARIABLE}: {} has no Cargo.lock", source.display());
        return Ok(linked);
    }
    if let Some(complete) = [real, &own].into_iter().find(|place| is_complete(place)) {
        return Ok(complete.to_owned());
    }
    if !fetch {
        bail!("the source of Rust's core library is missing (rustup component add rust-src)");
    }
    if Distribution::here() == Some(Distribution::Debian) {
        from_debian(&own).context("get the source of Rust's core library from Debian")?;
        return Ok(own);
    }
    ensure!(which("rustup").is_some(), "neither Debian nor rustup is here to get rust-src from");
    command::run(Command::new("rustup").args(["component", "add", "rust-src"]))?;
    Ok(real.to_owned())
}

fn is_complete(sysroot: &Path) -> bool {
    sysroot.join(IN_SYSROOT).join("Cargo.lock").is_file()
}

/// Downloads the package and keeps the library's folder of it, which is a tenth.
fn from_debian(sysroot: &Path) -> Result<()> {
    let download = sysroot.join("download");
    // Any Debian revision of the release will do.
    let package = debian::download(SUITE, &format!("rust-src={RELEASE}+*"), &download)?;
    unpack(&package, &download)?;
    let library = sysroot.join(IN_SYSROOT);
    sysroot::make_parent(&library)?;
    fs::rename(download.join("library"), &library)
        .with_context(|| format!("move the source to {}", library.display()))?;
    fs::remove_dir_all(&download).with_context(|| format!("remove {}", download.display()))
}

fn unpack(package: &Path, folder: &Path) -> Result<()> {
    let library = format!("./usr/src/rustc-{RELEASE}/library");
    let name = package.display();
    say(format_args!("+ dpkg-deb --fsys-tarfile {name} | tar --extract {library}"));
    let mut reader = Command::new("dpkg-deb");
    let reader = reader.arg("--fsys-tarfile").arg(package).stdout(Stdio::piped());
    let mut reader = reader.spawn().context("run dpkg-deb")?;
    let archive = reader.stdout.take().context("read from dpkg-deb")?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--directory").arg(folder).arg("--strip-components=4").arg(library);
    let tar = tar.stdin(archive).status().context("run tar")?;
    let reader = reader.wait().context("wait for dpkg-deb")?;
    ensure!(tar.success() && reader.success(), "unpack {name}: dpkg-deb: {reader}, tar: {tar}");
    Ok(())
}
