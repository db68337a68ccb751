//! Runs the tools: the only place where this engine starts a process.

use std::{
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use rustix::thread::{CapabilitySet, capabilities};

use super::{family::Family, save::Saved};
use crate::sys::{lock, tool};

/// Why a tool did not do what it was asked. What it said is kept word for word.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("`{tool}` is not in PATH; it comes with the package iptables")]
    Absent {
        /// Its name.
        tool: &'static str,
    },
    /// It could not be run.
    #[error("cannot run `{tool}`")]
    Unrunnable {
        /// Its name.
        tool: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The kernel refused it.
    #[error("`{tool}` lacks the capability CAP_NET_ADMIN: {said}")]
    NotPermitted {
        /// Its name.
        tool: &'static str,
        /// Its own words.
        said: String,
    },
    /// The kernel, or the tool, does not know a table, match or target.
    #[error("a kernel module, or an extension of `{tool}`, is missing: {said}")]
    Missing {
        /// Its name.
        tool: &'static str,
        /// Its own words.
        said: String,
    },
    /// Anything else.
    #[error("`{tool}` failed with {status}: {said}")]
    Failed {
        /// Its name.
        tool: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its own words.
        said: String,
    },
}

/// What the tables of a family hold. Tables that do not exist are not made by asking.
pub(super) fn save(family: Family) -> Result<Saved, ToolError> {
    let output = run(family.save(), &["-c"], "", Stdio::piped())?;
    Ok(Saved::parse(&output))
}

/// Feeds a restore input. A table changes in one step, or not at all.
pub(super) fn restore(family: Family, input: &str) -> Result<(), ToolError> {
    // It has nothing to print, and goes on when this command is killed: in place of an output it gets the lock, so that
    // the next command waits for it.
    let output = lock::share().map_or_else(Stdio::null, Stdio::from);
    run(family.restore(), &["--noflush", "-w", "5"], input, output).map(drop)
}

/// Has a restore input checked, and changes nothing.
pub(super) fn test(family: Family, input: &str) -> Result<(), ToolError> {
    run(family.restore(), &["--noflush", "-w", "5", "--test"], input, Stdio::null()).map(drop)
}

/// Loads what legacy tools would load, which takes `CAP_SYS_MODULE`. No rule is looked at for it.
pub(super) fn load_modules() -> io::Result<()> {
    let is_loaded = Path::new("/proc/net/ip_tables_names").exists();
    let version = tool::read(&["iptables"], &["--version"])?;
    if is_loaded || !version.is_some_and(|version| version.contains("legacy")) {
        return Ok(());
    }
    tool::read(&["modprobe"], &["--quiet", "--all", "ip_tables", "ip6_tables"]).map(drop)
}

fn run(tool: &'static str, args: &[&str], input: &str, output: Stdio) -> Result<String, ToolError> {
    let mut child = Command::new(tool)
        .args(args)
        // Words and decimal points as this engine knows them.
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ToolError::Absent { tool },
            _ => ToolError::Unrunnable { tool, error },
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that stops reading says why on stderr.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output().map_err(|error| ToolError::Unrunnable { tool, error })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(if is_permission(&said) {
        ToolError::NotPermitted { tool, said }
    } else if is_missing(&said) {
        ToolError::Missing { tool, said }
    } else {
        ToolError::Failed { tool, status: output.status, said }
    })
}

/// The legacy tools, refused, only say that they cannot initialize a table.
fn is_permission(said: &str) -> bool {
    let lacking = capabilities(None).is_ok_and(|sets| !sets.effective.contains(CapabilitySet::NET_ADMIN));
    lacking || ["Permission denied", "Operation not permitted"].iter().any(|words| said.contains(words))
}

fn is_missing(said: &str) -> bool {
    const WORDS: [&str; 7] = [
        "Couldn't load match",
        "Couldn't load target",
        "unable to initialize table",
        "can't initialize",
        "do you need to insmod?",
        "missing kernel module",
        "No chain/target/match by that name",
    ];
    WORDS.iter().any(|words| said.contains(words))
}
