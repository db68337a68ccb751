//! `services`: what others on the host cost one.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::ground::Ground;
use super::numbered::each;
use crate::bench::Bench;
use crate::bench::load::connect;
use crate::bench::peer::wocut::{apply, detach};
use crate::bench::peer::{Peer, ports};
use crate::bench::results::{Measure, Measured};
use crate::bench::rounds::in_turn;
use crate::bench::server::Echo;

const SERVICES: [u16; 3] = [1, 100, 1000];
const WINDOW: Duration = Duration::from_millis(500);
const PEERS: [Peer; 3] = [Peer::Direct, Peer::EBPF, Peer::IPTABLES];

/// Services other than the one that is measured are on ports from here on, where nobody connects.
const FIRST: u16 = 10_000;

pub(super) fn run(bench: &Bench, into: &mut Measured) -> Result<()> {
    let ground = Ground::<Echo>::make(&PEERS, SERVICES[SERVICES.len() - 1])?;
    in_turn(bench, into, each(&PEERS, &SERVICES), |case, _| {
        let stand = ground.of(case.peer)?;
        let engine = match case.peer {
            Peer::Direct => None,
            Peer::IPTABLES => Some("iptables"),
            _ => Some("ebpf"),
        };
        if let Some(engine) = engine {
            apply(bench, &stand.place, engine, &config(case.at, case.peer.address().port())?)?;
        }
        let measured = connect(&stand.place, case.peer.address(), bench.window(WINDOW / 5))
            .and_then(|_| connect(&stand.place, case.peer.address(), bench.window(WINDOW)));
        if engine.is_some() {
            detach(bench, &stand.place)?;
        }
        Ok(vec![(Measure::ConnectionsPerSecond, measured?.per_second())])
    })
}

/// That many services of one instance each; the last one is the one that clients ask for.
fn config(services: u16, port: u16) -> Result<String> {
    let mut text = String::new();
    for (number, instance) in (1..=services).zip(ports(services)) {
        let listen = if number == services { port } else { FIRST + number };
        writeln!(text, "[service.s{number}]\nlisten = [\"{listen}/tcp\"]\ninstances = [{instance}]")
            .context("write a service")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::config;

    #[test]
    fn the_last_service_is_the_one_that_is_measured() {
        let text = config(2, 82).unwrap();
        assert_eq!(
            text,
            "[service.s1]\nlisten = [\"10001/tcp\"]\ninstances = [20001]\n\
             [service.s2]\nlisten = [\"82/tcp\"]\ninstances = [20002]\n"
        );
    }
}
