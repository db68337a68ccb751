//! A command on a terminal of its own.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::host::Host;
use crate::must::Must as _;
use crate::tool::run;
use crate::wait::{wait_for, wait_until};

/// Longer than whatever a screen waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A command in tmux; dropping it ends both.
#[derive(Debug)]
pub struct Screen {
    folder: TempDir,
}

impl Screen {
    /// Starts it on a terminal of 110 columns and 20 lines. How the terminal is set up is printed before it and after
    /// it, and in between its exit code.
    #[track_caller]
    pub fn start(host: &Host, arguments: &str) -> Self {
        Self::start_under(host, &[], arguments)
    }

    /// Starts it under another program, such as `env`.
    #[track_caller]
    pub fn start_under(host: &Host, before: &[&str], arguments: &str) -> Self {
        let wocut = host.wocut_command(before);
        let words: Vec<_> = [wocut.get_program()].into_iter().chain(wocut.get_args()).collect();
        let wocut = words.join(" ".as_ref()).into_string().must("write a command line");
        let line = format!("stty -g; {wocut} {arguments}; echo ended $?; stty -g; exec sleep 600");
        let host = host.wocut_command(&[]);
        let variables = host.get_envs().filter_map(|(name, value)| Some((name, value?)));
        Self::open(&line, variables)
    }

    /// Starts whatever a line of the shell says.
    #[track_caller]
    pub fn of(line: &str) -> Self {
        Self::open(line, [])
    }

    #[track_caller]
    fn open<'v>(line: &str, variables: impl IntoIterator<Item = (&'v OsStr, &'v OsStr)>) -> Self {
        let screen = Self { folder: tempfile::tempdir().must("make a folder for tmux") };
        let mut tmux = screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "20"]);
        tmux.arg(line).env("LC_ALL", "C.UTF-8").env("SHELL", "/bin/sh").envs(variables);
        run(&mut tmux);
        screen
    }

    /// What can be read on it, a line each, without blanks at the ends.
    #[track_caller]
    pub fn lines(&self) -> Vec<String> {
        let text = run(&mut self.tmux(&["capture-pane", "-p"]));
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Whether anything on it has a colour.
    #[track_caller]
    pub fn has_colours(&self) -> bool {
        run(&mut self.tmux(&["capture-pane", "-e", "-p"])).contains("\x1b[3")
    }

    /// Waits until it shows something, and gives what.
    #[track_caller]
    pub fn shows<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        wait_for(&format!("the screen shows {what}"), PATIENCE, || find(&self.lines()))
    }

    /// Waits until some line begins like that.
    #[track_caller]
    pub fn shows_line(&self, start: &str) -> String {
        self.shows(start, |lines| lines.iter().find(|line| line.starts_with(start)).cloned())
    }

    /// Presses keys, by the names that tmux has for them.
    #[track_caller]
    pub fn press(&self, keys: &[&str]) {
        run(self.tmux(&["send-keys"]).args(keys));
    }

    /// Sends wocut a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let shell = run(&mut self.tmux(&["display-message", "-p", "#{pane_pid}"]));
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        let children = fs::read_to_string(children).must("find wocut");
        let wocut = children.trim().parse().ok().and_then(Pid::from_raw).must("find wocut");
        kill_process(wocut, signal).must("send a signal");
    }

    /// Waits until wocut has ended with this code, and fails the test unless the terminal is as it was before.
    #[track_caller]
    pub fn gives_back_after(&self, code: i32) {
        let ended = format!("ended {code}");
        wait_until(&format!("the terminal is given back: {ended}"), PATIENCE, || {
            let lines: Vec<String> = self.lines().into_iter().filter(|line| !line.is_empty()).collect();
            // What the shell says of a signal stands between.
            matches!(&lines[..], [before, .., end, after] if *end == ended && before == after)
        });
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-u").arg("-S").arg(self.folder.path().join("tmux")).args(arguments).env_remove("TMUX");
        tmux
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(self.tmux(&["kill-server"]).output());
    }
}
