//! `tail`: how long requests take when workers are busy, and work is uneven.

use std::time::Duration;

use anyhow::Result;

use super::ground::Ground;
use super::numbered::{Numbered, each};
use crate::bench::Bench;
use crate::bench::figures::percentile;
use crate::bench::load::{Load, ask};
use crate::bench::peer::Peer;
use crate::bench::peer::wocut::Policy;
use crate::bench::results::{Measure, Measured};
use crate::bench::rounds::in_turn;
use crate::bench::server::{Work, Workers};

const WORKERS: u16 = 8;
const LONG: f64 = 0.05;
const LOADS: [u16; 3] = [50, 70, 85];
const WINDOW: Duration = Duration::from_millis(1300);

/// Direct is one listener that all workers share: one queue, which nothing with a queue for each worker can beat.
const PEERS: [Peer; 9] = [
    Peer::Direct,
    Peer::Reuseport,
    Peer::EBPF,
    Peer::ebpf(Policy::RoundRobin),
    Peer::ebpf(Policy::LeastConn),
    Peer::ebpf(Policy::LeastBacklog),
    Peer::IPTABLES,
    Peer::HAPROXY_RANDOM,
    Peer::HAPROXY_LEASTCONN,
];

pub(super) fn run(bench: &Bench, into: &mut Measured) -> Result<()> {
    let ground = Ground::<Workers>::make(&PEERS, WORKERS)?;
    in_turn(bench, into, each(&PEERS, &LOADS), |case, round| {
        let answers = ground.with(bench, case.peer, WORKERS, |stand| {
            ask(&stand.place, case.peer.address(), load(bench, *case, round), || {})
        })?;
        let at = |part| percentile(&answers.0, part).unwrap_or_default();
        Ok(vec![
            (Measure::P50Milliseconds, at(0.5)),
            (Measure::P99Milliseconds, at(0.99)),
            (Measure::P999Milliseconds, at(0.999)),
        ])
    })
}

/// The same requests for every peer, and others in every round.
fn load(bench: &Bench, case: Numbered, round: usize) -> Load {
    Load {
        seed: u64::from(case.at) * 1000 + round as u64,
        per_second: capacity() * f64::from(case.at) / 100.0,
        long: LONG,
        window: bench.window(WINDOW),
        patience: Duration::from_secs(20),
    }
}

/// Requests a second that all workers together can do.
fn capacity() -> f64 {
    let mean = (1.0 - LONG) * Work::Short.time().as_secs_f64() + LONG * Work::Long.time().as_secs_f64();
    f64::from(WORKERS) / mean
}
