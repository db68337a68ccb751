//! The system of a machine: a copy of the packages of this one.
//!
//! So the tests find the programs that they find here, and the C library that they were linked with.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::cpio::Archive;
use crate::apt::Program;
use crate::{command, debian};

/// What a system is expected to have, tests or not.
const BASE: [&str; 9] = ["bash", "coreutils", "dash", "findutils", "grep", "kmod", "mount", "procps", "sed"];

/// Folders of packages that no program needs.
const LEFT_OUT: [&str; 5] =
    ["/usr/share/doc", "/usr/share/info", "/usr/share/lintian", "/usr/share/locale", "/usr/share/man"];

/// Files that belong to no package: who is who, for daemons that change their user.
const WRITTEN: [&str; 2] = ["/etc/group", "/etc/passwd"];

const PROGRAMS: [&str; 2] = ["/usr/bin", "/usr/sbin"];
const ALTERNATIVES: &str = "/etc/alternatives";

/// Writes the installed packages of the programs, with all that they need.
pub(crate) fn write(archive: &mut Archive<impl Write>, programs: &[&Program]) -> Result<()> {
    for merged in ["/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin"].map(Path::new) {
        // Links to folders below `/usr`.
        if merged.is_symlink() {
            entry(archive, merged, merged)?;
        }
    }
    let mut files = files(&packages(programs)?)?;
    files.extend(alternatives(&files)?);
    for file in files.iter().map(PathBuf::as_path).chain(WRITTEN.map(Path::new)) {
        entry(archive, file, file)?;
    }
    for Program { name, package, .. } in programs {
        let present = PROGRAMS.iter().any(|folder| archive.has(&Path::new(folder).join(name)));
        ensure!(present, "{name} is here, but not from the package {package}: install that");
    }
    Ok(())
}

/// The installed packages that the programs need.
fn packages(programs: &[&Program]) -> Result<Vec<String>> {
    let named = programs.iter().map(|program| program.package());
    let named: BTreeSet<_> = BASE.into_iter().chain(named).collect();
    let mut apt = Command::new("apt-cache");
    apt.args(debian::DEPENDS).arg("--installed").args(named);
    let needed = command::output(&mut apt)?;
    let installed = installed()?;
    // Apt also gives alternatives that are not.
    Ok(debian::packages(&needed).filter(|package| installed.contains(*package)).map(str::to_owned).collect())
}

fn installed() -> Result<BTreeSet<String>> {
    let mut dpkg = Command::new("dpkg-query");
    dpkg.args(["--show", "--showformat=${db:Status-Status} ${Package}\n"]);
    let packages = command::output(&mut dpkg)?;
    Ok(packages.lines().filter_map(|line| line.strip_prefix("installed ").map(str::to_owned)).collect())
}

/// The packages' files and folders, by their real paths.
fn files(packages: &[String]) -> Result<BTreeSet<PathBuf>> {
    let list = command::output(Command::new("dpkg").arg("--listfiles").args(packages))?;
    let wanted = |line: &&str| line.starts_with('/') && !is_left_out(Path::new(line));
    Ok(list.lines().filter(wanted).filter_map(|line| real(Path::new(line))).collect())
}

/// Whether no program needs it.
pub(crate) fn is_left_out(path: &Path) -> bool {
    LEFT_OUT.iter().any(|folder| path.starts_with(folder))
}

/// A path without links among its folders, if there is such a file.
fn real(path: &Path) -> Option<PathBuf> {
    let real = path.parent()?.canonicalize().ok()?.join(path.file_name()?);
    real.symlink_metadata().is_ok().then_some(real)
}

/// The links by which `update-alternatives` gives a program its usual name; no package has them.
fn alternatives(files: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    for folder in PROGRAMS {
        for name in fs::read_dir(folder).with_context(|| format!("read {folder}"))? {
            let name = name.with_context(|| format!("read {folder}"))?.path();
            let Ok(alternative) = name.read_link() else { continue };
            if alternative.starts_with(ALTERNATIVES)
                && name.canonicalize().is_ok_and(|program| files.contains(&program))
            {
                links.extend([name, alternative]);
            }
        }
    }
    Ok(links)
}

/// Writes a folder with all that is in it.
pub(crate) fn copy(archive: &mut Archive<impl Write>, from: &Path, to: &Path) -> Result<()> {
    entry(archive, from, to)?;
    if from.is_dir() && !from.is_symlink() {
        for inside in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
            let name = inside.with_context(|| format!("read {}", from.display()))?.file_name();
            copy(archive, &from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}

fn entry(archive: &mut Archive<impl Write>, from: &Path, to: &Path) -> Result<()> {
    add(archive, from, to).with_context(|| format!("copy {}", from.display()))
}

fn add(archive: &mut Archive<impl Write>, from: &Path, to: &Path) -> std::io::Result<()> {
    let metadata = from.symlink_metadata()?;
    if metadata.is_symlink() {
        archive.link(to, from.read_link()?.as_os_str())
    } else if metadata.is_dir() {
        archive.folder(to)
    } else {
        let time = u32::try_from(metadata.mtime()).map_err(std::io::Error::other)?;
        archive.dated_file(to, metadata.permissions().mode(), time, &fs::read(from)?)
    }
}
