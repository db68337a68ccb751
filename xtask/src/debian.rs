//! Downloading packages of a Debian suite that the machine's apt does not use.
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
    let files = Suite::open(suite, folder)?.download(&[package.to_owned()])?;
    files.into_iter().next().with_context(|| format!("find the package in {}", folder.display()))
}

/// A suite whose package lists have been read, and the folder that everything of it goes to.
pub(crate) struct Suite<'a> {
    folder: &'a Path,
}

impl<'a> Suite<'a> {
    /// Gets the package lists.
    pub(crate) fn open(name: &str, folder: &'a Path) -> Result<Self> {
        let suite = Self { folder };
        let sources = suite.sources();
        let source = source(name, folder)? + "\n";
        fs::write(&sources, source).with_context(|| format!("write {}", sources.display()))?;
        command::run(suite.apt("apt-get").args(["update", "--quiet"]))?;
        Ok(suite)
    }

    /// The packages that one needs, itself among them, alternatives included.
    pub(crate) fn needed_by(&self, package: &str) -> Result<Vec<String>> {
        let output = command::output(self.apt("apt-cache").args(DEPENDS).arg(package))?;
        Ok(packages(&output).map(str::to_owned).collect())
    }

    /// Downloads packages, and gives the paths of all in the folder.
    pub(crate) fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        command::run(self.apt("apt-get").arg("download").args(packages).current_dir(self.folder))?;
        let entries = fs::read_dir(self.folder).with_context(|| format!("read {}", self.folder.display()))?;
        let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_package = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "deb");
        Ok(files.filter(is_package).collect())
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = apt(program, self.folder);
        apt.args(["-o", &format!("Dir::Etc::SourceList={}", self.sources().display())]);
        apt.args(["-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Acquire::Languages=none"]);
        apt
    }

    fn sources(&self) -> PathBuf {
        self.folder.join("sources.list")
    }
}

/// A suite as a line of `sources.list(5)`. Apt is asked for its mirror, and works in the folder.
pub(crate) fn source(suite: &str, folder: &Path) -> Result<String> {
    for made in ["lists/partial", "cache/archives/partial"] {
        let made = folder.join(made);
        fs::create_dir_all(&made).with_context(|| format!("make {}", made.display()))?;
    }
    let uris = command::output(apt("apt-get", folder).args(["update", "--print-uris"]))?;
    let mirror = mirror(&uris).context("find a mirror of Debian among apt's sources")?;
    let signed = if Path::new(KEYRING).is_file() { format!(" [signed-by={KEYRING}]") } else { String::new() };
    Ok(format!("deb{signed} {mirror} {suite} main"))
}

/// How `apt-cache` lists a package and everything that it needs to work.
pub(crate) const DEPENDS: [&str; 8] = [
    "depends",
    "--recurse",
    "--no-recommends",
    "--no-suggests",
    "--no-conflicts",
    "--no-breaks",
    "--no-replaces",
    "--no-enhances",
];

/// The packages in what [`DEPENDS`] gives: real ones stand at the beginning of a line.
pub(crate) fn packages(depends: &str) -> impl Iterator<Item = &str> {
    depends.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// Apt that keeps everything it writes in one folder.
fn apt(program: &str, folder: &Path) -> Command {
    let mut apt = Command::new(program);
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

#[cfg(test)]
mod tests {
    use super::{mirror, packages};

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

    #[test]
    fn packages_are_told_from_what_they_depend_on() {
        let depends = "a\n  Depends: b\n |Depends: <virtual>\n    c\nb\n<virtual>\nlib-c+1.0\n";
        assert_eq!(packages(depends).collect::<Vec<_>>(), ["a", "b", "lib-c+1.0"]);
    }
}
