//! What a run was measured on.

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::workspace::which;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) kernel: String,
    pub(super) distribution: String,
    /// What the peers say about their versions.
    pub(super) programs: Vec<String>,
}

/// How each peer tells its version.
const PROGRAMS: [(&str, &str); 5] =
    [("iptables", "-V"), ("iptables-legacy", "-V"), ("nft", "-v"), ("haproxy", "-v"), ("nginx", "-v")];

impl Machine {
    pub(super) fn here() -> Result<Self> {
        let info = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("read the kernel's version")?;
        Ok(Self {
            processor: value(&info, "model name").unwrap_or_else(|| "unknown processor".into()),
            cores: std::thread::available_parallelism().context("count cores")?.get(),
            kernel: kernel.trim().to_owned(),
            distribution: value(&release, "PRETTY_NAME").unwrap_or_else(|| "unknown".into()),
            programs: PROGRAMS.into_iter().filter_map(|(program, flag)| version(program, flag)).collect(),
        })
    }

    #[cfg(test)]
    pub(super) fn sample() -> Self {
        Self {
            processor: "Processor".into(),
            cores: 2,
            kernel: "6.18.0".into(),
            distribution: "Debian".into(),
            programs: vec!["nft v1".into()],
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, kernel, distribution, programs } = self;
        write!(f, "{processor}, {cores} cores; Linux {kernel}; {distribution}; {}", programs.join("; "))
    }
}

/// The value of a line `key : value` or `key="value"`.
fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim_start_matches([' ', '\t', ':', '=']).trim_matches('"').to_owned())
}

/// The first line of what a program says about itself: on one output or the other.
fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(which(program)?).arg(flag).output().ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let said = String::from_utf8(said).ok()?;
    let line = said.lines().next()?.trim_start_matches("nginx version: ");
    Some(line.split(" - ").next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_are_read_from_both_forms_of_file() {
        assert_eq!(value("model name\t: A B\n", "model name").as_deref(), Some("A B"));
        assert_eq!(value("ID=x\nPRETTY_NAME=\"A 1\"\n", "PRETTY_NAME").as_deref(), Some("A 1"));
        assert_eq!(value("", "x"), None);
    }
}
