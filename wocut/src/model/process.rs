//! A process that was started to be an instance.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A process of this PID namespace. Numbers come back; a number and a start together do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since the boot: field 22 of `/proc/PID/stat`.
    pub started: u64,
}

/// Why a port is kept that is no instance's yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who starts an instance there. When it has ended, so has its claim.
    pub by: ProcessId,
    /// What it has started. Nobody else ends that, if its starter is killed before it is an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pid.fmt(f)
    }
}
