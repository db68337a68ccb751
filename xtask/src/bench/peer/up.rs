//! A peer that was put in place, and how it is taken down.

use std::process::{Child, Command};

use crate::command;
use crate::say::say;

/// A peer that is in place. It goes with the value.
#[derive(Default)]
pub(in crate::bench) struct Up {
    pub(super) process: Option<Child>,
    undo: Vec<Command>,
}

impl Up {
    pub(super) fn process(child: Child) -> Self {
        Self { process: Some(child), undo: Vec::new() }
    }

    pub(super) fn undone_by(command: Command) -> Self {
        Self { process: None, undo: vec![command] }
    }

    /// The peer's own process, if it has one.
    pub(in crate::bench) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(child) = &mut self.process {
            let _ended_before = child.kill();
            let _status = child.wait();
        }
        for command in &mut self.undo {
            if let Err(error) = command::quietly(command) {
                say(format_args!("take a peer down: {error:#}"));
            }
        }
    }
}
