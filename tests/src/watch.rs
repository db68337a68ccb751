//! A command that keeps printing.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::must::Must as _;

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
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
