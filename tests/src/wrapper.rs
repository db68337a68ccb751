//! A running `wocut run` or `wocut cluster`, with the command that it has started.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::host::{Host, words};
use crate::must::Must as _;
use crate::notifications::Notifications;
use crate::processes::{processes, signal};
use crate::wait::wait_for;

/// The command and what it prints; dropping it kills it, and what it has started goes with the namespace.
#[derive(Debug)]
pub struct Wrapper {
    child: Child,
    folder: TempDir,
    /// What it told systemd.
    pub notifications: Notifications,
}

impl Wrapper {
    /// Starts `wocut`, on the host's engine, with arguments separated by blanks and a command after `--`.
    pub fn start(host: &Host, arguments: &str, command: &[String]) -> Self {
        Self::under(host, &[], arguments, command)
    }

    /// The same under another program, such as `setpriv`.
    pub fn under(host: &Host, before: &[&str], arguments: &str, command: &[String]) -> Self {
        let folder = tempfile::tempdir().must("make a folder for a wrapper");
        let notifications = Notifications::listen(folder.path());
        let log = File::create(folder.path().join("log")).must("make a log");
        let mut wocut = host.wocut_command(before);
        wocut.args(words(arguments)).args(words(&host.engine.flags())).arg("--").args(command);
        wocut.env("NOTIFY_SOCKET", notifications.path()).stdin(Stdio::null());
        wocut.stdout(log.try_clone().must("share a log")).stderr(log);
        Self { child: wocut.spawn().must("start wocut"), folder, notifications }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).must("send a signal to wocut");
    }

    /// `kill -9` of `wocut` itself where another program has started it, as that of a container does.
    pub fn kill_within(&mut self, host: &Host) {
        let is_it = |line: &str| line.contains("--listen") && !line.starts_with("nsenter");
        let found = processes(&host.lan.server).into_iter().find(|(_, line)| is_it(line));
        signal(found.must("find wocut").0, Signal::KILL);
        drop(self.child.wait());
    }

    /// `kill -9`, which its command outlives.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().must("look at wocut").is_some()
    }

    /// Waits until it ends by itself, and gives the exit code.
    #[track_caller]
    pub fn end(&mut self) -> Option<i32> {
        let ended = || self.child.try_wait().must("look at wocut");
        wait_for("the wrapper ends", Duration::from_secs(30), ended).code()
    }

    /// What it and its command have printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).must("read the log")
    }
}

impl Drop for Wrapper {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let start = format!("the wrapper {} said:\n", self.id());
            drop(io::stderr().write_all((start + &self.log()).as_bytes()));
        }
        self.kill();
    }
}
