//! A shell that commands are typed into, and what comes back.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use std::{iter, mem};

use crate::emulated::limit;
use crate::must::Must as _;

/// No command of a page takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// What says that a command has ended.
const END: &str = "wocut-docs-end";

/// A shell; dropping it kills it.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// All that it printed.
    pub lines: Vec<String>,
    /// Its exit code; nothing if it did not end.
    pub code: Option<i32>,
}

impl Terminal {
    /// Starts `bash` by a prepared command.
    pub fn open(mut command: Command) -> Self {
        command.arg("--noprofile").arg("--norc").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().must("open a terminal");
        let stdout = child.stdout.take().must("look at a terminal");
        let stdin = child.stdin.take().must("type in a terminal");
        let (send, lines) = channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                line.clear();
                if send.send(text).is_err() {
                    break;
                }
            }
        });
        let mut terminal = Self { child, stdin, lines, seen: Vec::new() };
        terminal.write("exec 2>&1\n");
        terminal
    }

    /// Runs a command to its end.
    pub fn run(&mut self, command: &str) -> Ended {
        self.write(&format!("eval {} < /dev/null\nprintf '\\n{END} %s\\n' $?\n", quoted(command)));
        let (mut lines, start) = (Vec::new(), Instant::now());
        let code = loop {
            let left = limit(PATIENCE).saturating_sub(start.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => match line.strip_prefix(END) {
                    Some(code) => break code.trim().parse().ok(),
                    // A shell with a terminal tells it in another way.
                    None if line.starts_with("bash: line ") && line.contains(" Killed ") => {}
                    None => lines.push(line),
                },
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break None,
            }
        };
        // The end begins with a line of its own.
        lines.pop_if(|last| last.is_empty());
        Ended { lines, code }
    }

    /// Starts a command that does not end by itself, in the place of the shell, and gives its process.
    pub fn become_command(&mut self, command: &str) -> Option<u32> {
        self.write(&format!("echo $$; eval {}\n", quoted(&format!("exec {command} < /dev/null"))));
        self.lines.recv_timeout(limit(PATIENCE)).ok()?.parse().ok()
    }

    /// Starts a command, and does not wait for its end.
    pub fn begin(&mut self, command: &str) {
        self.write(&format!("{command}\n"));
    }

    /// Waits until what was begun has ended, and gives what it has printed.
    pub fn close(mut self) -> Vec<String> {
        self.write("exit\n");
        let mut lines = mem::take(&mut self.seen);
        lines.extend(iter::from_fn(|| self.lines.recv_timeout(limit(PATIENCE)).ok()));
        lines
    }

    /// Waits until what was printed so far is as wanted, and gives it in any case.
    pub fn printed(&mut self, wanted: impl Fn(&[String]) -> bool) -> (bool, Vec<String>) {
        let start = Instant::now();
        loop {
            self.seen.extend(self.lines.try_iter());
            let is_so = wanted(&self.seen);
            if is_so || start.elapsed() > limit(PATIENCE) {
                return (is_so, self.seen.clone());
            }
            if let Ok(line) = self.lines.recv_timeout(Duration::from_millis(50)) {
                self.seen.push(line);
            }
        }
    }

    fn write(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).must("type in a terminal");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A text as one word of the shell's.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
