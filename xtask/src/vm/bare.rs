//! A bare Debian with systemd, for `--debian`: wocut is installed there as a new user installs it.
//!
//! The system is that of the kernel's own release, as Debian's packages make it. What is done in it is in `tests/debian`:
//! the first process, a unit, and the checks.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufReader, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use tar::EntryType;

use super::cpio::Archive;
use super::kernel::Kernel;
use super::system::{copy, is_left_out};
use crate::apt::Program;
use crate::dist::deb;
use crate::workspace::Workspace;
use crate::{command, debian, test};

pub(crate) const HOST: &[Program] = &[Program::new("mmdebstrap", "mmdebstrap", "a bare Debian system")];

/// Beside what every Debian has: an init, and what quickstart.md takes.
const PACKAGES: &str = "systemd-sysv,kmod,procps,iproute2,iptables,python3,curl";

const UNITS: &str = "/etc/systemd/system";

/// What is other than Debian has it: no login on the line that checks write to, and no units named there.
const LINKS: [(&str, &str); 2] = [
    ("multi-user.target.wants/machine.service", "/etc/systemd/system/machine.service"),
    ("serial-getty@ttyS0.service", "/dev/null"),
];
const FILES: [(&str, &str); 2] =
    [("/etc/hostname", "debian\n"), ("/etc/systemd/system.conf.d/quiet.conf", "[Manager]\nShowStatus=no\n")];

/// Builds the package.
pub(crate) fn package(workspace: &Workspace) -> Result<PathBuf> {
    let wocut = test::build_wocut(workspace)?;
    deb::build(workspace, &wocut, &workspace.target.join("debian"), deb::Effort::Fast)
        .context("make the package")
}

/// Writes the system, the package, and which checks are made: all, if none is named.
pub(crate) fn write(
    workspace: &Workspace,
    kernel: Kernel,
    package: &Path,
    checks: &[String],
    archive: &mut Archive<impl Write>,
) -> Result<()> {
    let folder = workspace.root.join("tests/debian");
    // The kernel opens it for the first process.
    archive.device(Path::new("/dev/console"), (5, 1))?;
    copy(archive, &folder.join("first.sh"), Path::new("/init"))?;
    copy(archive, &folder.join("machine.service"), &Path::new(UNITS).join("machine.service"))?;
    for (link, to) in LINKS {
        archive.link(&Path::new(UNITS).join(link), OsStr::new(to))?;
    }
    for (file, text) in FILES {
        archive.file(Path::new(file), 0o644, text.as_bytes())?;
    }
    copy(archive, package, Path::new("/wocut/wocut.deb"))?;
    archive.file(Path::new("/wocut/checks"), 0o644, checks.join(" ").as_bytes())?;
    copy(archive, &folder, Path::new("/wocut/tests/debian"))?;
    copy(archive, &workspace.root.join("tests/src/web.py"), Path::new("/wocut/tests/src/web.py"))?;
    let system = system(workspace, kernel.release()).context("make a bare Debian")?;
    unpack(&system, archive).with_context(|| format!("copy {}", system.display()))
}

/// The system's files, which are made once for a target folder.
fn system(workspace: &Workspace, release: &str) -> Result<PathBuf> {
    let folder = workspace.target.join("vm");
    let file = folder.join(format!("debian-{release}.tar"));
    if file.exists() {
        return Ok(file);
    }
    let apt = folder.join("debian-apt");
    let source = debian::source(release, &apt)?;
    fs::remove_dir_all(&apt).with_context(|| format!("remove {}", apt.display()))?;
    let new = folder.join(format!("debian-{release}.new.tar"));
    let mut make = Command::new("mmdebstrap");
    make.args(["--variant=minbase", "--include", PACKAGES, release]).arg(&new).arg(source);
    command::run(&mut make)?;
    fs::rename(&new, &file).with_context(|| format!("move the system to {}", file.display()))?;
    Ok(file)
}

fn unpack(tar: &Path, archive: &mut Archive<impl Write>) -> Result<()> {
    let mut tar = tar::Archive::new(BufReader::new(File::open(tar)?));
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = absolute(&entry.path()?);
        let header = entry.header();
        let (kind, mode, time) = (header.entry_type(), header.mode()?, header.mtime()?);
        let to = entry.link_name()?.map(std::borrow::Cow::into_owned).unwrap_or_default();
        match kind {
            _ if is_left_out(&path) => {}
            EntryType::Directory => archive.folder(&path)?,
            EntryType::Symlink => archive.link(&path, to.as_os_str())?,
            // A second name of a file.
            EntryType::Link => archive.link(&path, absolute(&to).as_os_str())?,
            EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                archive.dated_file(&path, mode, time.try_into()?, &content)?;
            }
            // The kernel makes devices.
            _ => {}
        }
    }
    Ok(())
}

/// Paths in the archive begin with `./`.
fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path.strip_prefix("./").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::absolute;

    #[test]
    fn paths_are_those_of_the_system() {
        assert_eq!(absolute(Path::new("./usr/bin/perl")), Path::new("/usr/bin/perl"));
        assert_eq!(absolute(Path::new("./")), Path::new("/"));
    }
}
