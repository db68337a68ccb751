//! A command that keeps printing.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::must::Must as _;
use crate::wait::wait_for;

/// A command under way whose lines can be read as they come; dropping it kills it.
#[derive(Debug)]
pub struct Watched {
    child: Child,
    lines: Receiver<String>,
}

impl Watched {
    /// Starts a prepared command.
    pub fn start(mut command: Command, arguments: &[&str]) -> Self {
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().must("start wocut");
        let stdout = child.stdout.take().must("read the output of wocut");
        let (send, lines) = channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Self { child, lines }
    }

    /// The next line on standard output, if there is one by now.
    pub fn line(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Waits until it ends by itself, and gives its exit code and the lines that were not read yet.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, Vec<String>) {
        let ended = || self.child.try_wait().must("look at wocut");
        let status = wait_for("wocut ends by itself", Duration::from_secs(10), ended);
        (status.code(), self.lines.iter().collect())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
