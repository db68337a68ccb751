//! Running the system's own tools (`ip`, `ss`, `iptables`, `bpftool`).

use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs};

use crate::must::{Must as _, check};

/// Runs a command that has to succeed, and gives its standard output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    check(output.status.success(), || {
        format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
    });
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command and gives whatever came out of it.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    let name = format!("run {}", command.get_program().display());
    command.output().must(&name)
}

/// Runs `ip` with arguments separated by blanks.
#[track_caller]
pub fn ip(arguments: &str) -> String {
    run(Command::new("ip").args(arguments.split_whitespace()))
}

/// Where a program is in `PATH`, or in the administrator's folders.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| fs::metadata(file).is_ok_and(|m| m.is_file()))
}
