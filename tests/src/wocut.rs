//! Running the `wocut` command inside a namespace.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fmt};

use serde_json::Value;

use crate::must::{Must as _, check, fail};
use crate::netns::Netns;
use crate::tool::output;

/// What came out of one command.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The arguments that were given.
    pub arguments: Vec<String>,
    /// The exit code; nothing if a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Messages.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Outcome {
    /// Fails the test unless the command ended with 0.
    #[track_caller]
    pub fn ok(&self) -> &Self {
        self.code(0)
    }

    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub fn code(&self, code: i32) -> &Self {
        check(self.code == Some(code), || format!("not exit {code}: {self}"));
        self
    }

    /// Fails the test unless a message has this in it.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        check(self.stderr.contains(text), || format!("no message with {text:?}: {self}"));
        self
    }

    /// The standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| fail(&format!("not JSON ({error}): {self}")))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arguments, code, stdout, stderr, .. } = self;
        let shown: Vec<String> =
            arguments.iter().map(|argument| argument.chars().take(100).collect()).collect();
        let few: Vec<_> = shown.iter().take(12).collect();
        write!(f, "wocut {few:?}: exit {code:?}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

/// Runs a prepared command (see [`command`]) to its end, which comes within a minute.
#[track_caller]
pub fn run(mut command: Command, arguments: &[&str]) -> Outcome {
    command.args(arguments).stdin(Stdio::null());
    let start = Instant::now();
    let ended = output(&mut command);
    Outcome {
        arguments: arguments.iter().map(ToString::to_string).collect(),
        code: ended.status.code(),
        stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        took: start.elapsed(),
    }
}

/// `wocut` inside a namespace or outside all, with a folder in front of `PATH`, and words (`setpriv …`) in front of it.
pub fn command(netns: Option<&Netns>, tools: Option<&Path>, before: &[&str]) -> Command {
    let mut words = before.iter().map(PathBuf::from).chain([binary()]);
    let first = words.next().must("have a command");
    let mut command = netns.map_or_else(|| Command::new(&first), |netns| netns.command(&first));
    command.args(words);
    if let Some(tools) = tools {
        let path = format!("{}:{}", tools.display(), env::var("PATH").unwrap_or_default());
        command.env("PATH", path);
    }
    command
}

/// A command under way; dropping it kills it.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts a prepared command; its output goes nowhere.
    pub fn start(mut command: Command, arguments: &[&str]) -> Self {
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().must("start wocut"))
    }

    /// Waits for the end and gives the exit code.
    pub fn wait(mut self) -> Option<i32> {
        self.0.wait().must("wait for wocut").code()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().must("look at wocut").is_some()
    }

    /// `kill -9`, so long after the start, wherever the command is by then.
    pub fn kill_after(self, moment: Duration) {
        std::thread::sleep(moment);
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A copy of `wocut` that every user can run, wherever this one was built.
pub fn copy_for_all(folder: &Path) -> PathBuf {
    let (copy, all) = (folder.join("wocut"), Permissions::from_mode(0o755));
    fs::copy(binary(), &copy).must("copy wocut");
    for path in [folder, &copy] {
        fs::set_permissions(path, all.clone()).must("let every user run wocut");
    }
    copy
}

/// `WOCUT_BIN`, or what cargo built next to this test.
pub(crate) fn binary() -> PathBuf {
    if let Some(given) = env::var_os("WOCUT_BIN") {
        return given.into();
    }
    let test = env::current_exe().must("find the test program");
    let target = test.ancestors().nth(3).must("find the target folder");
    let profile = test.ancestors().nth(2).must("find the profile's folder");
    let found = [profile.join("wocut"), target.join("release/wocut"), target.join("debug/wocut")];
    found.into_iter().find(|file| file.is_file()).must("find wocut: build it first, or set WOCUT_BIN")
}
