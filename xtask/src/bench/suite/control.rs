//! `control`: how long an operator waits for attach, one change of a weight, and detach.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::ground::{Ground, Stand};
use crate::bench::Bench;
use crate::bench::peer::original::{self, Backend};
use crate::bench::peer::wocut::{Attachment, detach, wocut};
use crate::bench::peer::{Peer, Service, ports};
use crate::bench::results::{Measure, Measured};
use crate::bench::rounds::{Case, Reading, in_turn};
use crate::bench::server::Echo;
use crate::command;

const INSTANCES: [u16; 3] = [8, 256, 1024];
const PEERS: [Peer; 4] = [Peer::EBPF, Peer::IPTABLES, Peer::LEGACY, Peer::NFT];

/// One command a rule takes minutes for many, so that is measured in few rounds, or not at all.
fn rounds(peer: Peer, instances: u16, all: usize) -> usize {
    match (peer, instances) {
        (Peer::Original(_), 1024) => 0,
        (Peer::Original(_), 256) => (all - 1) / 3,
        _ => all,
    }
}

struct Attached {
    peer: Peer,
    instances: u16,
    rounds: usize,
}

impl Case for Attached {
    fn path(&self) -> String {
        self.peer.name()
    }

    fn at(&self) -> Option<u64> {
        Some(self.instances.into())
    }
}

pub(super) fn run(bench: &Bench, into: &mut Measured) -> Result<()> {
    let ground = Ground::<Echo>::make(&PEERS, INSTANCES[INSTANCES.len() - 1])?;
    let case =
        |peer, instances| Attached { peer, instances, rounds: rounds(peer, instances, bench.rounds()) };
    let cases = INSTANCES.into_iter().flat_map(|instances| PEERS.map(|peer| case(peer, instances)));
    in_turn(bench, into, cases.collect(), |case, round| {
        let (stand, service) = (ground.of(case.peer)?, Service::tcp(case.instances));
        match case.peer {
            _ if round >= case.rounds => Ok(Vec::new()),
            Peer::Wocut(attachment) => ours(bench, stand, attachment, &service, round),
            Peer::Original(backend) => originals(bench, stand, backend, &service),
            _ => Ok(Vec::new()),
        }
    })?;
    into.note("the original makes and takes away its rules by one command each: 256 instances were measured in 2 rounds (with --quick in none), 1024 are minutes; it has no weights, so its change is a stop and a start".into());
    Ok(())
}

fn ours(
    bench: &Bench,
    stand: &Stand<Echo>,
    attachment: Attachment,
    service: &Service,
    round: usize,
) -> Result<Vec<Reading>> {
    let command = |words: &[String]| {
        let mut command = wocut(bench, &stand.place);
        command.args(words);
        command
    };
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let attach = timed(command(&attachment.words(service)));
    let instance = ports(1)[0].to_string();
    // Another weight in every round, so that it is a change.
    let weight = (2 + round).to_string();
    let change = timed(command(&words(&["weight", "bench", &instance, &weight])));
    let detached = timed(command(&words(&["detach", "bench"])));
    if detached.is_err() {
        detach(bench, &stand.place)?;
    }
    Ok(vec![
        (Measure::AttachMilliseconds, attach?),
        (Measure::ChangeMilliseconds, change?),
        (Measure::DetachMilliseconds, detached?),
    ])
}

fn originals(
    bench: &Bench,
    stand: &Stand<Echo>,
    backend: Backend,
    service: &Service,
) -> Result<Vec<Reading>> {
    let place = &stand.place;
    let started = Instant::now();
    let attach = original::start(backend, place, service).map(|()| milliseconds(started.elapsed()));
    bench.interrupt.check().or_else(|error| original::flush(backend, place).and(Err(error)))?;
    let stopping = Instant::now();
    let detach = original::stop(backend, place).map(|()| milliseconds(stopping.elapsed()));
    original::flush(backend, place)?;
    let (attach, detach) = (attach?, detach?);
    Ok(vec![
        (Measure::AttachMilliseconds, attach),
        (Measure::ChangeMilliseconds, attach + detach),
        (Measure::DetachMilliseconds, detach),
    ])
}

/// From before the process starts until it has ended.
fn timed(mut command: Command) -> Result<f64> {
    let started = Instant::now();
    command::quietly(&mut command)?;
    Ok(milliseconds(started.elapsed()))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
