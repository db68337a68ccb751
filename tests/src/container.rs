//! A PID namespace with a `/proc` of its own, as a container has it.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::engine::Engine;
use crate::must::Must as _;
use crate::netns::Netns;
use crate::processes::processes;
use crate::wait::wait_for;

/// What is first in it: it reaps whoever has lost its parent.
const FIRST: &str = "sleep 1000; true";

/// The namespace; dropping it ends all that runs in it.
#[derive(Debug)]
pub struct Container {
    child: Child,
    first: String,
}

impl Container {
    /// One in a network namespace.
    pub fn new(netns: &Netns) -> Self {
        let mut command = netns.command("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", FIRST]);
        let child = command.stdin(Stdio::null()).spawn().must("start a container");
        let first = wait_for("it has a first process", Duration::from_secs(10), || {
            let is_first = |line: &String| line.starts_with("sh -c") && line.contains(FIRST);
            processes(netns).into_iter().find(|(_, line)| is_first(line)).map(|(id, _)| id.to_string())
        });
        Self { child, first }
    }

    /// What goes before a command that is to run in it, with the capabilities that a container is given for an engine.
    pub fn within(&self, engine: Engine) -> [&str; 9] {
        let without =
            if engine.is_ebpf() { "-sys_admin,-sys_ptrace" } else { "-bpf,-perfmon,-sys_admin,-sys_ptrace" };
        ["nsenter", "--target", &self.first, "--pid", "--mount", "--", "setpriv", "--bounding-set", without]
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
