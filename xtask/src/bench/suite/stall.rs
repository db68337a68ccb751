//! `stall`: what requests see of a worker that stops, with its listener still there.

use std::time::Duration;

use anyhow::Result;

use super::ground::Ground;
use crate::bench::Bench;
use crate::bench::load::{Load, ask};
use crate::bench::peer::Peer;
use crate::bench::peer::wocut::Policy;
use crate::bench::results::{Measure, Measured};
use crate::bench::rounds::in_turn;
use crate::bench::server::Workers;

const WORKERS: u16 = 8;
const PER_SECOND: f64 = 1000.0;

/// A request that waited for the stopped worker waited longer than any other could.
const STUCK_MILLISECONDS: f64 = 250.0;

const PEERS: [Peer; 6] = [
    Peer::Direct,
    Peer::EBPF,
    Peer::ebpf(Policy::LeastConn),
    Peer::ebpf(Policy::LeastBacklog),
    Peer::IPTABLES,
    Peer::HAPROXY_LEASTCONN,
];

pub(super) fn run(bench: &Bench, into: &mut Measured) -> Result<()> {
    let ground = Ground::<Workers>::make(&PEERS, WORKERS)?;
    let stop = Duration::from_secs(if bench.quick { 1 } else { 5 });
    in_turn(bench, into, PEERS.to_vec(), |&peer, round| {
        let load = Load {
            seed: round as u64,
            per_second: PER_SECOND,
            long: 0.0,
            window: stop + Duration::from_millis(200),
            patience: stop + Duration::from_secs(10),
        };
        let answers = ground.with(bench, peer, WORKERS, |stand| {
            ask(&stand.place, peer.address(), load, || stand.servers.stop_first(stop))
        })?;
        let stuck = answers.0.iter().filter(|&&took| took > STUCK_MILLISECONDS).count();
        let longest = answers.0.last().copied().unwrap_or_default();
        let stuck = u32::try_from(stuck).map_or(f64::INFINITY, f64::from);
        Ok(vec![(Measure::StuckRequests, stuck), (Measure::LongestMilliseconds, longest)])
    })
}
