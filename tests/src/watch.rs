//! A command that keeps printing.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::must::Must as _;
use crate::wait::wait_for;

/// A command under way whose lines can be read as they come; dropping it kills it.
#[derive(Debug)]
pub struct Watched {
    child: Child,
    lines: Receiver<String>,
    messages: Receiver<String>,
}

impl Watched {
    /// Starts a prepared command.
    pub fn start(mut command: Command, arguments: &[&str]) -> Self {
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().must("start wocut");
        let lines = lines_of(child.stdout.take().must("read the output of wocut"));
        let messages = lines_of(child.stderr.take().must("read the messages of wocut"));
        Self { child, lines, messages }
    }

    /// Waits for the next line on standard output.
    #[track_caller]
    pub fn next(&self) -> String {
        wait_for("wocut says something", Duration::from_secs(10), || self.line())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().must("look at wocut").is_some()
    }

    /// Closes its standard output, which is noticed at its next line.
    pub fn stop_reading(&mut self) {
        self.lines = channel().1;
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).must("interrupt wocut");
    }

    /// The next line on standard output, if there is one by now.
    pub fn line(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Waits until it ends by itself, and gives its exit code and the lines that were not read yet.
    #[track_caller]
    pub fn end(self) -> (Option<i32>, Vec<String>) {
        let (code, lines, _messages) = self.end_with_messages();
        (code, lines)
    }

    /// The same, and all messages in one.
    #[track_caller]
    pub fn end_with_messages(mut self) -> (Option<i32>, Vec<String>, String) {
        let ended = || self.child.try_wait().must("look at wocut");
        let status = wait_for("wocut ends by itself", Duration::from_secs(10), ended);
        let messages: Vec<String> = self.messages.iter().collect();
        (status.code(), self.lines.iter().collect(), messages.join("\n"))
    }
}

fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    lines
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
