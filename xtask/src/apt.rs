//! Programs that tests and demonstrations need from the distribution.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;
use crate::say::say;
use crate::workspace::{Workspace, which};

/// A program, and where Debian has it.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    /// What it is for.
    pub(crate) reason: &'static str,
}

impl Program {
    pub(crate) const fn new(name: &'static str, package: &'static str, reason: &'static str) -> Self {
        Self { name, package, reason }
    }

    /// The name of its package here.
    pub(crate) fn package(&self) -> &'static str {
        Distribution::here().map_or(self.package, |distribution| self.package_in(distribution))
    }

    fn package_in(&self, distribution: Distribution) -> &'static str {
        match (distribution, self.package) {
            // Ubuntu has it as a tool of each kernel, and in the others' common package a program that finds it.
            (Distribution::Ubuntu, "bpftool") => "linux-tools-generic",
            // Ubuntu has it as a snap, which this package installs.
            (Distribution::Ubuntu, "chromium") => "chromium-browser",
            (_, package) => package,
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<10} {:<16} {}", self.name, self.package, self.reason)
    }
}

/// A distribution that this knows the package names of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Distribution {
    Debian,
    Ubuntu,
}

impl Distribution {
    /// What this machine runs.
    pub(crate) fn here() -> Option<Self> {
        which("apt-get")?;
        Self::of(&fs::read_to_string("/etc/os-release").ok()?)
    }

    /// Reads `os-release(5)`.
    fn of(os_release: &str) -> Option<Self> {
        let field = |key: &str| {
            let value = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        let names = field("ID") + " " + &field("ID_LIKE");
        names.split(' ').find_map(|name| match name {
            "debian" => Some(Self::Debian),
            "ubuntu" => Some(Self::Ubuntu),
            _ => None,
        })
    }
}

/// Installs the programs that are missing, and says which; elsewhere than on Debian and Ubuntu it lists them and fails.
pub(crate) fn ensure(workspace: &Workspace, programs: &[Program]) -> Result<()> {
    let missing: Vec<_> = programs.iter().filter(|program| which(program.name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    say("missing programs, their packages and what they are for:");
    for program in &missing {
        say(program);
    }
    let Some(distribution) = Distribution::here() else {
        bail!("install them first: this does it on Debian and Ubuntu only");
    };
    as_root("true").context("install packages")?;
    let _stopped = Services::keep_stopped(workspace)?;
    let mut packages: Vec<_> = missing.iter().map(|program| program.package_in(distribution)).collect();
    packages.dedup();
    let install = || {
        let mut apt = apt_get()?;
        apt.args(["install", "--yes", "--no-install-recommends"]).args(&packages);
        command::run(&mut apt)
    };
    if let Err(error) = install() {
        // The lists may be missing or too old.
        say(format_args!("{error:#}; once more with new package lists"));
        command::run(apt_get()?.arg("update"))?;
        install()?;
    }
    Ok(())
}

/// A command that runs as root, by way of sudo where this is another user.
pub(crate) fn as_root(program: &str) -> Result<Command> {
    if rustix::process::geteuid().is_root() {
        return Ok(Command::new(program));
    }
    let allowed = Command::new("sudo").args(["-n", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        bail!("this needs root, and `sudo -n` does not work here: type `sudo -v` first");
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("-n").arg(program);
    Ok(sudo)
}

/// With `env`, because sudo does not hand variables on.
fn apt_get() -> Result<Command> {
    let mut apt = as_root("env")?;
    apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    Ok(apt)
}

const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str = "#!/bin/sh\n# `cargo xtask` installs packages and starts no services.\nexit 101\n";

/// While this lives, a package that is installed does not start its service.
struct Services {
    ours: bool,
}

impl Services {
    fn keep_stopped(workspace: &Workspace) -> Result<Self> {
        // A killed run may have left ours.
        let present = fs::read_to_string(POLICY);
        let ours = present.as_ref().map_or(!Path::new(POLICY).exists(), |text| text == POLICY_TEXT);
        if ours && present.is_err() {
            let text = workspace.tools().join("policy-rc.d");
            fs::create_dir_all(workspace.tools()).context("make the folder for tools")?;
            fs::write(&text, POLICY_TEXT).with_context(|| format!("write {}", text.display()))?;
            command::run(as_root("install")?.arg("--mode=755").arg(&text).arg(POLICY))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = as_root("rm").and_then(|mut rm| command::run(rm.arg(POLICY)))
        {
            say(format_args!("remove {POLICY}: {error:#}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Distribution;

    #[test]
    fn distributions_are_told_from_os_release() {
        let of = Distribution::of;
        assert_eq!(of("PRETTY_NAME=\"Debian\"\nID=debian\n"), Some(Distribution::Debian));
        assert_eq!(of("ID=ubuntu\nID_LIKE=debian\n"), Some(Distribution::Ubuntu));
        assert_eq!(of("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Some(Distribution::Ubuntu));
        assert_eq!(of("ID=fedora\n"), None);
        assert_eq!(of(""), None);
    }
}
