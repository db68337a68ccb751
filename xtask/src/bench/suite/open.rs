//! `open`: what a connection costs once it is open.

use std::time::Duration;

use anyhow::Result;

use super::ground::{Ground, Stand};
use crate::bench::Bench;
use crate::bench::load::{Way, converse};
use crate::bench::peer::Peer;
use crate::bench::programs::{Counting, between};
use crate::bench::results::{Measure, Measured};
use crate::bench::rounds::{Reading, in_turn};
use crate::bench::server::Echo;

const INSTANCES: u16 = 8;
const WINDOW: Duration = Duration::from_millis(500);

const PEERS: [Peer; 10] = [
    Peer::Direct,
    Peer::Reuseport,
    Peer::EBPF,
    Peer::TC,
    Peer::IPTABLES,
    Peer::LEGACY,
    Peer::NFT,
    Peer::Numgen,
    Peer::HAPROXY_RANDOM,
    Peer::Nginx,
];

pub(super) fn run(bench: &Bench, into: &mut Measured) -> Result<()> {
    let ground = Ground::<Echo>::make(&PEERS, INSTANCES)?;
    in_turn(bench, into, PEERS.to_vec(), |&peer, _| {
        ground.with(bench, peer, INSTANCES, |stand| {
            let window = || Ok(bench.window(WINDOW));
            let trips = converse(&stand.place, peer.address(), Way::RoundTrips, window)?;
            let bytes = converse(&stand.place, peer.address(), Way::Bulk, window)?;
            let mut readings =
                vec![(Measure::RoundTripsPerSecond, trips), (Measure::MebibytesPerSecond, bytes / MEBIBYTE)];
            if matches!(peer, Peer::Wocut(_)) && peer != Peer::IPTABLES {
                readings.push(runs(stand, peer, bench.window(WINDOW / 5))?);
            }
            Ok(readings)
        })
    })
}

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// How often programs run for a round trip. Not in the window that is reported: counting costs too.
fn runs(stand: &Stand<Echo>, peer: Peer, window: Duration) -> Result<Reading> {
    let counting = Counting::start()?;
    let mut before = Vec::new();
    let trips = converse(&stand.place, peer.address(), Way::RoundTrips, || {
        before = counting.runs(&stand.place)?;
        Ok(window)
    })?;
    // The connections have just been closed, which is no round trip, and is a run for each at most.
    let after = counting.runs(&stand.place)?;
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let runs = between(&before, &after).iter().map(|runs| runs.count).sum::<u64>() as f64;
    Ok((Measure::ProgramRunsPerRoundTrip, runs / (trips * window.as_secs_f64())))
}
