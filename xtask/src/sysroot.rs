//! A sysroot of our own: the compiler's, with the source of the core library added.
//!
//! Cargo hashes the path of that source into the names of symbols, except for the part up to the sysroot that rustc
//! prints (<https://github.com/rust-lang/cargo/pull/14951>). So source that lies elsewhere makes an object that depends
//! on where; and nothing may be added to a toolchain that is not ours.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result};

const PARTS: &str = "lib/rustlib";

/// Makes a folder with the source look like the compiler's own: links to its parts, and a `rustc` that prints the
/// folder as its sysroot.
pub(crate) fn imitate(real: &Path, ours: &Path) -> Result<()> {
    let parts = real.join(PARTS);
    for part in fs::read_dir(&parts).with_context(|| format!("read {}", parts.display()))? {
        let part = part.with_context(|| format!("read {}", parts.display()))?;
        if part.file_name() != "src" {
            link(&part.path(), &ours.join(PARTS).join(part.file_name()))?;
        }
    }
    // A link to rustc would not do: it finds its sysroot through the library that it loads.
    let rustc = real.join("bin/rustc");
    let script = format!("#!/bin/sh\nexec '{}' --sysroot '{}' \"$@\"\n", rustc.display(), ours.display());
    write(&script, &ours.join("bin/rustc"))
}

/// Writes a program, but leaves an equal one alone, because cargo asks a changed compiler everything again.
fn write(script: &str, at: &Path) -> Result<()> {
    if fs::read_to_string(at).is_ok_and(|present| present == script) {
        return Ok(());
    }
    make_parent(at)?;
    fs::write(at, script).with_context(|| format!("write {}", at.display()))?;
    fs::set_permissions(at, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", at.display()))
}

/// Makes a link, or changes what it leads to.
pub(crate) fn link(to: &Path, at: &Path) -> Result<()> {
    if fs::read_link(at).is_ok_and(|present| present == to) {
        return Ok(());
    }
    if at.is_symlink() {
        fs::remove_file(at).with_context(|| format!("remove {}", at.display()))?;
    }
    make_parent(at)?;
    symlink(to, at).with_context(|| format!("link {} to {}", at.display(), to.display()))
}

/// Makes the folder that a path is in.
pub(crate) fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().with_context(|| format!("find the folder of {}", path.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))
}
