//! What the machine is told, and what it wants done.

use std::{fmt, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

/// A worker, for as long as there is anything of it. No other ever has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub u64);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker of an earlier master was found alive. All of these come before [`Event::Start`].
    Adopted {
        /// Which.
        id: WorkerId,
        /// Its `WOCUT_WORKER`.
        index: u32,
        /// The generation that it was started in.
        generation: u64,
        /// Whether it is in the set. One that is not was retired, or had not come up.
        serves: bool,
    },
    /// Everything is known that is there already.
    Start,
    /// A worker listens, and its check passed.
    Ready(WorkerId),
    /// A worker did not come up in time, or its check failed. If it is alive, its end is told as well.
    NotReady {
        /// Which.
        id: WorkerId,
        /// What was waited for, in words.
        why: String,
    },
    /// A worker has ended, or could not be started.
    Exited {
        /// Which.
        id: WorkerId,
        /// How, in words.
        why: String,
    },
    /// What workers use now, in bytes.
    Memory(Vec<(WorkerId, u64)>),
    /// A worker gets no new connections any more, as [`Action::Drain`] wanted it.
    Drained(WorkerId),
    /// The last connection of a retired worker is gone.
    NoConnections(WorkerId),
    /// A worker did not say in time that it is alive.
    WatchdogMissed(WorkerId),
    /// All workers are to be replaced.
    Reload,
    /// So many workers are wanted from now on.
    Scale(NonZeroU32),
    /// Everything is to end. A second time: without waiting for connections.
    Stop,
    /// Nobody waits any longer for retired workers.
    KillRetired,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a worker.
    Spawn {
        /// A new one.
        id: WorkerId,
        /// Its `WOCUT_WORKER`.
        index: u32,
        /// The generation that it belongs to.
        generation: u64,
    },
    /// Put a worker into the set; in the same step, give another no new connections any more.
    Serve {
        /// The new one.
        id: WorkerId,
        /// The old one, which is retired.
        instead_of: Option<WorkerId>,
    },
    /// Give a worker no new connections, tell when that is so, and when its last one is gone.
    Drain(WorkerId),
    /// It is retired: let others have the CPU first.
    Renice(WorkerId),
    /// Send SIGTERM.
    Terminate(WorkerId),
    /// Send SIGKILL.
    Kill(WorkerId),
    /// There is nothing left of it: take it out of the set, if it is in there, and remove what belonged to it.
    Forget(WorkerId),
    /// Let people know.
    Tell(News),
    /// Nothing is left to be done.
    Finished {
        /// Whether it was for want of a worker that comes up.
        gave_up: bool,
    },
}

/// Why a worker is retired for what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It uses more than one worker may.
    Memory,
    /// All of them use too much, and it uses the most.
    TotalMemory,
    /// It does not say any more that it is alive.
    Watchdog,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "it uses more memory than one worker may",
            Self::TotalMemory => "all workers use too much memory, and it uses the most",
            Self::Watchdog => "it missed its watchdog",
        })
    }
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A worker failed, and is started again.
    Again {
        /// Which.
        index: u32,
        /// How it failed.
        why: String,
        /// After this long.
        pause: Duration,
    },
    /// A worker failed too often.
    GaveUp {
        /// Which.
        index: u32,
        /// How it failed the last time.
        why: String,
    },
    /// A worker is to be retired.
    Retiring {
        /// Which.
        index: u32,
        /// For what.
        cause: Cause,
    },
    /// A reload has begun.
    Reloading {
        /// The generation that comes.
        generation: u64,
    },
    /// All workers are of the new generation.
    Reloaded {
        /// Which is the one now.
        generation: u64,
    },
    /// A new worker failed: those that are left of older generations stay.
    ReloadStopped {
        /// The generation that did not come.
        generation: u64,
        /// How it failed.
        why: String,
    },
    /// As many workers serve as were asked for, or as can.
    Scaled {
        /// So many do.
        serving: usize,
        /// So many were asked for.
        wanted: u32,
    },
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again { index, why, pause } => {
                let pause = humantime::format_duration(*pause);
                write!(f, "worker {index} failed: {why}; it starts again in {pause}")
            }
            Self::GaveUp { index, why } => write!(f, "worker {index} failed too often, the last time: {why}"),
            Self::Retiring { index, cause } => write!(f, "worker {index} is retired: {cause}"),
            Self::Reloading { generation } => write!(f, "generation {generation} comes up"),
            Self::Reloaded { generation } => write!(f, "all workers are of generation {generation}"),
            Self::ReloadStopped { generation, why } => {
                write!(f, "generation {generation} does not come up, the workers before it stay: {why}")
            }
            Self::Scaled { serving, wanted } => write!(f, "{serving} of {wanted} workers serve"),
        }
    }
}
