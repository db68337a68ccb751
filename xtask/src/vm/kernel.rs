//! Kernels of Debian's releases.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use super::cpio::Archive;
use super::system::copy;
use crate::command;
use crate::debian::Suite;
use crate::workspace::{Workspace, which};

/// The flavour for virtual machines: the smallest, with type information for eBPF.
const PACKAGE: &str = "linux-image-cloud-amd64";
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel, by its version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kernel {
    /// Of Debian 11
    #[value(name = "5.10")]
    V5_10,
    /// Of Debian 12
    #[value(name = "6.1")]
    V6_1,
    /// Of Debian 13
    #[value(name = "6.12")]
    V6_12,
    /// The newest that Debian 13 has in its backports
    Newest,
}

impl Kernel {
    fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
            Self::Newest => "trixie-backports",
        }
    }

    /// The release that it runs in.
    pub(crate) fn release(self) -> &'static str {
        self.suite().trim_end_matches("-backports")
    }

    /// The kernel's files, which are downloaded once for a target folder.
    pub(crate) fn files(self, workspace: &Workspace) -> Result<Files> {
        let folder = workspace.target.join("vm").join(self.to_string());
        if !folder.exists() {
            self.fetch(&folder).with_context(|| format!("get kernel {self} from Debian"))?;
        }
        Files::find(&folder)
    }

    fn fetch(self, folder: &Path) -> Result<()> {
        let new = folder.with_added_extension("new");
        if new.exists() {
            // Of a run that was ended.
            fs::remove_dir_all(&new).with_context(|| format!("remove {}", new.display()))?;
        }
        let download = new.join("download");
        let suite = Suite::open(self.suite(), &download)?;
        let mut packages = suite.needed_by(PACKAGE)?;
        packages.retain(|package| package.ends_with(FLAVOUR));
        for package in suite.download(&packages)? {
            command::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&new))?;
        }
        fs::remove_dir_all(&download).with_context(|| format!("remove {}", download.display()))?;
        Files::find(&new)?.index()?;
        fs::rename(&new, folder).with_context(|| format!("move the kernel to {}", folder.display()))
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// The files of one kernel.
pub(crate) struct Files {
    /// What a boot loader loads.
    pub(crate) image: PathBuf,
    /// The folder that `lib/modules` is in.
    base: PathBuf,
    version: String,
}

impl Files {
    fn find(folder: &Path) -> Result<Self> {
        let bases = [folder.to_owned(), folder.join("usr")];
        let base = bases.into_iter().find(|base| base.join("lib/modules").is_dir());
        let base = base.with_context(|| format!("find modules in {}", folder.display()))?;
        let modules = base.join("lib/modules");
        let mut versions = fs::read_dir(&modules).with_context(|| format!("read {}", modules.display()))?;
        let version = versions.next().context("find a kernel's version")??.file_name();
        ensure!(versions.next().is_none(), "{} has modules of several kernels", modules.display());
        let version = version.into_string().ok().context("read the kernel's version")?;
        // Newer packages have it with the modules.
        let places = [folder.join(format!("boot/vmlinuz-{version}")), modules.join(&version).join("vmlinuz")];
        let image = places.into_iter().find(|place| place.is_file());
        let image = image.with_context(|| format!("find kernel {version} in {}", folder.display()))?;
        Ok(Self { image, base, version })
    }

    /// Writes the index that `modprobe` reads.
    fn index(&self) -> Result<()> {
        let depmod = which("depmod").context("find depmod")?;
        command::run(Command::new(depmod).arg("--basedir").arg(&self.base).arg(&self.version))
    }

    /// Writes the modules to where `modprobe` looks for them.
    pub(crate) fn write_modules(&self, archive: &mut Archive<impl Write>) -> Result<()> {
        let at = Path::new("/usr/lib/modules").join(&self.version);
        copy(archive, &self.base.join("lib/modules").join(&self.version), &at)
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::Kernel;

    #[test]
    fn kernels_are_called_by_their_versions() {
        assert_eq!(Kernel::from_str("5.10", false), Ok(Kernel::V5_10));
        assert_eq!(Kernel::Newest.to_string(), "newest");
        assert_eq!(Kernel::Newest.release(), "trixie");
        assert!(Kernel::value_variants().iter().all(|kernel| !kernel.to_string().is_empty()));
    }
}
