//! What is measured, one file a suite.

mod connect;
mod control;
mod ground;
mod instances;
mod kernel;
mod memory;
mod numbered;
mod open;
mod services;

mod stall;
mod tail;
mod udp;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Bench;
use super::results::Measured;

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Suite {
    /// New connections a second, and what one costs the host
    Connect,
    /// Round trips and throughput on open connections
    Open,
    /// New connections a second by number of instances
    Instances,
    /// New connections a second by number of attached services
    Services,
    /// Latency at 50, 70 and 85 per cent of the workers' capacity
    Tail,
    /// One of eight workers stops for five seconds
    Stall,
    /// Datagrams a second, and round trips
    Udp,
    /// How long attach, change and detach take
    Control,
    /// Memory of maps, commands and proxies
    Memory,
    /// Nanoseconds of each program, as the kernel counts them
    Kernel,
}

impl Suite {
    pub(super) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// What it measures, in one line.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Connect => "new connections through 8 instances: connect, a byte each way, reset",
            Self::Open => "a byte there and a byte back on 64 open connections, and bulk on 8",
            Self::Instances => "new connections, by number of instances",
            Self::Services => "new connections to one of that many attached services, of one instance each",
            Self::Tail => {
                "requests at a per cent of what 8 single-threaded workers can do; 95 % are 1 ms of work, 5 % are 50 ms"
            }
            Self::Stall => {
                "requests for 1 ms of work to 8 workers, of which one is stopped for 5 s (with --quick, 1 s)"
            }
            Self::Udp => "datagrams that 8 instances send back: 64 flows at once, and one alone",
            Self::Control => "wall time of commands, by number of instances",
            Self::Memory => "memory in the kernel and in user space, by number of instances",
            Self::Kernel => "time that the kernel counts for each program, by number of instances",
        }
    }

    pub(super) fn run(self, bench: &Bench) -> Result<Measured> {
        let mut measured = Measured::new(self);
        let suite = match self {
            Self::Connect => connect::run,
            Self::Open => open::run,
            Self::Instances => instances::run,
            Self::Services => services::run,
            Self::Tail => tail::run,
            Self::Stall => stall::run,
            Self::Udp => udp::run,
            Self::Control => control::run,
            Self::Memory => memory::run,
            Self::Kernel => kernel::run,
        };
        suite(bench, &mut measured)?;
        Ok(measured)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", clap::builder::PossibleValue::get_name))
    }
}
