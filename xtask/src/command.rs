//! Running other programs: each command is shown before it runs, in a form that a shell takes.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::say::say;

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    show(command);
    let status = command.status().with_context(|| format!("run {}", name(command)))?;
    ensure!(status.success(), "{}: {status}", name(command));
    Ok(())
}

/// Runs a command that has to succeed, and gives its standard output; errors go to the terminal.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    show(command);
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("run {}", name(command)))?;
    ensure!(output.status.success(), "{}: {}", name(command), output.status);
    String::from_utf8(output.stdout).with_context(|| format!("read what {} says", name(command)))
}

/// Runs a command that has to succeed without showing anything, and gives its standard output; an error has its words.
pub(crate) fn quietly(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {}", name(command)))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}: {}", shown(command), output.status, error.trim());
    String::from_utf8(output.stdout).with_context(|| format!("read what {} says", name(command)))
}

/// Shows a command that is about to run.
pub(crate) fn show(command: &Command) {
    say(format_args!("+ {}", shown(command)));
}

fn name(command: &Command) -> String {
    command.get_program().display().to_string()
}

/// The command as a line for a shell, with the variables that are set for it.
fn shown(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(key, value)| Some((key, value?)));
    let set = set.map(|(key, value)| format!("{}={}", key.display(), quoted(value)));
    let words = [command.get_program()].into_iter().chain(command.get_args());
    set.chain(words.map(quoted)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if word.chars().any(char::is_control) {
        // As bash and dash 0.5.11 or newer read it.
        let escaped: String = word.chars().map(escaped).collect();
        format!("$'{escaped}'")
    } else if word.is_empty() || !word.chars().all(plain) {
        format!("'{}'", word.replace('\'', r"'\''"))
    } else {
        word.into_owned()
    }
}

fn escaped(c: char) -> String {
    match c {
        '\'' | '\\' => format!(r"\{c}"),
        c if c.is_ascii_control() => format!(r"\x{:02x}", u32::from(c)),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::shown;

    #[test]
    fn a_plain_command_is_shown_as_it_is() {
        assert_eq!(shown(Command::new("cargo").args(["build", "--locked"])), "cargo build --locked");
    }

    #[test]
    fn words_that_a_shell_would_split_are_quoted() {
        let mut command = Command::new("a b");
        command.args(["it's", "", "x\u{1f}y'"]).env("KEY", "v w");
        assert_eq!(shown(&command), r"KEY='v w' 'a b' 'it'\''s' '' $'x\x1fy\''");
    }
}
