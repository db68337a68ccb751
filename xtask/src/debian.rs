//! Downloading one package of a Debian suite that the machine's apt does not use.
//!
//! Apt does it, so signatures are checked and its proxies and mirrors serve; but with folders of its own, so what the
//! machine knows of packages neither matters nor changes. It needs no root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Downloads a package (`name=version`, the version may be a pattern) into a folder, and gives its path.
pub(crate) fn download(suite: &str, package: &str, folder: &Path) -> Result<PathBuf> {
    for made in ["lists/partial", "cache/archives/partial"] {
        let made = folder.join(made);
        fs::create_dir_all(&made).with_context(|| format!("make {}", made.display()))?;
    }
    let sources = folder.join("sources.list");
    let uris = command::output(apt(folder).args(["update", "--print-uris"]))?;
    let mirror = mirror(&uris).context("find a mirror of Debian among apt's sources")?;
    let signed = if Path::new(KEYRING).is_file() { format!(" [signed-by={KEYRING}]") } else { String::new() };
    fs::write(&sources, format!("deb{signed} {mirror} {suite} main\n"))
        .with_context(|| format!("write {}", sources.display()))?;

    let with_suite = |arguments: [&str; 2]| {
        let mut apt = apt(folder);
        apt.args(["-o", &format!("Dir::Etc::SourceList={}", sources.display())]);
        apt.args(["-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Acquire::Languages=none"]);
        apt.args(arguments);
        apt
    };
    command::run(with_suite(["update", "--quiet"]).current_dir(folder))?;
    command::run(with_suite(["download", package]).current_dir(folder))?;
    downloaded(folder)
}

/// Apt that keeps everything it writes in one folder.
fn apt(folder: &Path) -> Command {
    let mut apt = Command::new("apt-get");
    let folder = folder.display();
    apt.args(["-o", &format!("Dir::State::Lists={folder}/lists")]);
    apt.args(["-o", &format!("Dir::Cache={folder}/cache")]);
    // As root, apt would download as a user who cannot write there.
    apt.args(["-o", "APT::Sandbox::User=root"]);
    apt
}

/// The first mirror of Debian's main archive among the files that an `apt-get update` would get.
fn mirror(uris: &str) -> Option<&str> {
    uris.lines().find_map(|line| {
        let uri = line.strip_prefix('\'')?.split('\'').next()?;
        let (mirror, suite) = uri.strip_suffix("/InRelease")?.split_once("/dists/")?;
        (!suite.ends_with("-security")).then_some(mirror)
    })
}

fn downloaded(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("find the package in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::mirror;

    #[test]
    fn the_mirror_is_that_of_the_main_archive() {
        let uris = "\
'http://mirror.example/debian-security/dists/bookworm-security/InRelease' a 0 \n\
'http://mirror.example/debian/dists/bookworm/InRelease' b 0 \n\
'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' c 0 \n";
        assert_eq!(mirror(uris), Some("http://mirror.example/debian"));
    }

    #[test]
    fn no_source_means_no_mirror() {
        assert_eq!(mirror(""), None);
    }
}
