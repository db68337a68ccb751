//! `instances`: what more of them cost. One thread serves all, so that their number alone is what differs.

use std::time::Duration;

use anyhow::Result;

use super::ground::Ground;
use super::numbered::each;
use crate::bench::Bench;
use crate::bench::load::connect;
use crate::bench::peer::Peer;
use crate::bench::peer::wocut::Policy;
use crate::bench::results::{Measure, Measured};
use crate::bench::rounds::in_turn;
use crate::bench::server::Echo;

const INSTANCES: [u16; 6] = [1, 8, 64, 128, 256, 1024];
const WINDOW: Duration = Duration::from_millis(400);

const PEERS: [Peer; 7] = [
    Peer::Direct,
    Peer::EBPF,
    Peer::ebpf(Policy::LeastConn),
    Peer::IPTABLES,
    Peer::LEGACY,
    Peer::NFT,
    Peer::Numgen,
];

pub(super) fn run(bench: &Bench, into: &mut Measured) -> Result<()> {
    let ground = Ground::<Echo>::make(&PEERS, INSTANCES[INSTANCES.len() - 1])?;
    in_turn(bench, into, each(&PEERS, &INSTANCES), |case, _| {
        ground.with(bench, case.peer, case.at, |stand| {
            let to = case.peer.address();
            connect(&stand.place, to, bench.window(WINDOW / 5))?;
            let seen = connect(&stand.place, to, bench.window(WINDOW))?;
            Ok(vec![(Measure::ConnectionsPerSecond, seen.per_second())])
        })
    })
}
