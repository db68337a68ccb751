//! `udp`: datagrams a second in 64 flows, and how long one takes there and back.

use std::time::Duration;

use anyhow::Result;

use super::ground::Ground;
use crate::bench::Bench;
use crate::bench::load::exchange;
use crate::bench::peer::Peer;
use crate::bench::results::{Measure, Measured};
use crate::bench::rounds::in_turn;
use crate::bench::server::Datagrams;

const INSTANCES: u16 = 8;
const FLOWS: u8 = 64;
const WINDOW: Duration = Duration::from_millis(500);

const PEERS: [Peer; 8] = [
    Peer::Direct,
    Peer::Reuseport,
    Peer::EBPF,
    Peer::IPTABLES,
    Peer::LEGACY,
    Peer::NFT,
    Peer::Numgen,
    Peer::Nginx,
];

pub(super) fn run(bench: &Bench, into: &mut Measured) -> Result<()> {
    let ground = Ground::<Datagrams>::make(&PEERS, INSTANCES)?;
    in_turn(bench, into, PEERS.to_vec(), |&peer, _| {
        ground.with(bench, peer, INSTANCES, |stand| {
            let many = exchange(&stand.place, peer.address(), FLOWS, bench.window(WINDOW))?;
            let one = exchange(&stand.place, peer.address(), 1, bench.window(WINDOW))?;
            // Each went there and came back.
            let packets = 2.0 * f64::from(many.done) / many.seconds;
            let round_trip = 1e6 * one.seconds / f64::from(one.done.max(1));
            Ok(vec![(Measure::PacketsPerSecond, packets), (Measure::RoundTripMicroseconds, round_trip)])
        })
    })
}
