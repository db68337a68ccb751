//! `kernel`: nanoseconds of each program, as the kernel counts them, with a load of new connections.

use std::time::Duration;

use anyhow::Result;

use super::ground::Ground;
use crate::bench::Bench;
use crate::bench::load::connect;
use crate::bench::nothing::Nothing;
use crate::bench::peer::Peer;
use crate::bench::peer::wocut::Policy;
use crate::bench::programs::{Counting, Runs, between};
use crate::bench::results::{Measure, Measured};
use crate::bench::server::Echo;

/// Programs on the same hooks that do nothing: what counting alone counts.
pub(in crate::bench) const NOTHING: &str = "nothing";

const WINDOW: Duration = Duration::from_millis(400);

/// What runs, and onto how many instances.
fn cases() -> Vec<(Peer, u16)> {
    let all = Peer::policies().map(|peer| (peer, 8));
    let many = [(Peer::EBPF, 1024), (Peer::ebpf(Policy::LeastConn), 1024)];
    all.chain([(Peer::TC, 8), (Peer::MPTCP, 8)]).chain(many).collect()
}

pub(super) fn run(bench: &Bench, into: &mut Measured) -> Result<()> {
    let cases = cases();
    let peers: Vec<Peer> = cases.iter().map(|&(peer, _)| peer).chain([Peer::Direct]).collect();
    let ground = Ground::<Echo>::make(&peers, 1024)?;
    let counting = Counting::start()?;
    for _ in 0..bench.rounds() {
        for &(peer, instances) in &cases {
            bench.interrupt.check()?;
            let (runs, done) = ground.with(bench, peer, instances, |stand| {
                connect(&stand.place, peer.address(), bench.window(WINDOW / 4))?;
                let before = counting.runs(&stand.place)?;
                let seen = connect(&stand.place, peer.address(), bench.window(WINDOW))?;
                Ok((between(&before, &counting.runs(&stand.place)?), seen.done))
            })?;
            for runs in runs.iter().filter(|runs| runs.count > u64::from(done) / 100) {
                add(into, &peer.name(), instances, runs, done);
            }
        }
        let (runs, done) = ground.with(bench, Peer::Direct, 1, |stand| {
            let nothing = Nothing::on(&stand.place)?;
            let before = nothing.runs(&counting)?;
            let seen = connect(&stand.place, Peer::Direct.address(), bench.window(WINDOW))?;
            Ok((between(&before, &nothing.runs(&counting)?), seen.done))
        })?;
        for runs in &runs {
            add(into, NOTHING, 8, runs, done);
        }
    }
    into.note("`account` also runs for sockets of others, being on the root of all control groups: what else the host does counts".into());
    Ok(())
}

fn add(into: &mut Measured, peer: &str, instances: u16, runs: &Runs, connections: u32) {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let (count, nanoseconds) = (runs.count as f64, runs.nanoseconds as f64);
    let path = format!("{}, {peer}", runs.program);
    let at = Some(instances.into());
    let connections = f64::from(connections.max(1));
    into.add(&path, at, Measure::NanosecondsPerRun, nanoseconds / count.max(1.0));
    into.add(&path, at, Measure::RunsPerConnection, count / connections);
    into.add(&path, at, Measure::NanosecondsPerConnection, nanoseconds / connections);
}
