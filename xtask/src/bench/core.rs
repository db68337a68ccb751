//! The processor's cores: one for whoever serves, another for the clients.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::command;
use crate::workspace::which;

/// A side of every measurement.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Core {
    /// Servers, proxies, and the kernel's work for packets that they get.
    Server,
    Client,
}

impl Core {
    /// Its number: the first core that this process may use, and the second.
    pub(super) fn number(self) -> Result<usize> {
        let mut allowed = allowed()?.into_iter();
        let first = allowed.next().context("find a core to run on")?;
        let second = allowed.next().context("find a second core: clients and servers each take one")?;
        Ok(if self == Self::Server { first } else { second })
    }

    /// Keeps this thread, and the processes that it starts, on the core, ahead of others.
    pub(super) fn pin(self) -> Result<()> {
        let mut set = CpuSet::new();
        set.set(self.number()?);
        sched_setaffinity(None, &set).context("pin a thread to a core")?;
        first_in_line(gettid())
    }

    /// Runs something on the core, in a thread of its own.
    pub(super) fn run<T: Send>(self, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let pinned = scope.spawn(|| {
                self.pin()?;
                what()
            });
            pinned.join().ok().context("a pinned thread ended early")?
        })
    }
}

/// The kernel's threads that take packets when there are many: first in line, as whoever sends and gets the packets
/// is. They go back with the value.
pub(super) struct PacketThreads(Vec<Pid>);

impl PacketThreads {
    pub(super) fn raise() -> Result<Self> {
        let mut raised = Self(Vec::new());
        for entry in fs::read_dir("/proc").context("list processes")? {
            let path = entry.context("list processes")?.path();
            // What is no process, or has ended meanwhile.
            let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            if let Some(pid) = number.and_then(Pid::from_raw).filter(|_| name.starts_with("ksoftirqd/")) {
                raised.0.push(pid);
                first_in_line(pid)?;
            }
        }
        Ok(raised)
    }
}

impl Drop for PacketThreads {
    fn drop(&mut self) {
        for &pid in &self.0 {
            let _without_chrt = schedule(pid, &["--other", "--pid", "0"]);
        }
    }
}

/// Puts a thread, and what it starts, ahead of what else the machine runs, which would otherwise be measured too.
/// Without `chrt` it takes turns with that.
pub(super) fn first_in_line(thread: Pid) -> Result<()> {
    if which("chrt").is_none() {
        return Ok(());
    }
    schedule(thread, &["--fifo", "--pid", "1"])
}

fn schedule(thread: Pid, policy: &[&str]) -> Result<()> {
    let thread = thread.as_raw_nonzero().to_string();
    command::quietly(Command::new("chrt").args(policy).arg(thread)).map(drop)
}

/// The cores of the process's first thread, which is never pinned.
fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Some(rustix::process::getpid())).context("read which cores are allowed")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Seconds that this thread has been running on a core.
pub(super) fn seconds_of_thread() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    seconds(time.tv_sec, time.tv_nsec)
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a run are far below 2^52")]
fn seconds(whole: i64, nanoseconds: i64) -> f64 {
    whole as f64 + nanoseconds as f64 / 1e9
}
