//! `connect`: new connections a second, and what one costs the whole host.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::ground::Ground;
use crate::bench::Bench;
use crate::bench::load::connect;
use crate::bench::peer::Peer;
use crate::bench::results::{Measure, Measured};
use crate::bench::rounds::{Case, Reading, in_rounds};
use crate::bench::server::Echo;

const INSTANCES: u16 = 8;
/// Short, and that many times the rounds: what else the machine does comes and goes in seconds, and so hits all alike.
const WINDOW: Duration = Duration::from_millis(200);
const TURNS: usize = 3;

/// A second of the kernel's own clock has that many ticks, whatever the machine (`USER_HZ`).
const TICKS: f64 = 100.0;

impl Case for Peer {
    fn path(&self) -> String {
        self.name()
    }
}

/// Everyone, with direct connections first.
fn peers() -> Vec<Peer> {
    let others = [Peer::Direct, Peer::Reuseport].into_iter().chain(Peer::policies());
    let own = [Peer::TC, Peer::MPTCP, Peer::IPTABLES];
    let rules = [Peer::LEGACY, Peer::NFT, Peer::Numgen];
    let proxies = [Peer::HAPROXY_RANDOM, Peer::HAPROXY_LEASTCONN, Peer::Nginx];
    others.chain(own).chain(rules).chain(proxies).collect()
}

pub(super) fn run(bench: &Bench, into: &mut Measured) -> Result<()> {
    let peers = peers();
    let ground = Ground::<Echo>::make(&peers, INSTANCES)?;
    let mut busiest: f64 = 0.0;
    in_rounds(bench, TURNS * bench.rounds(), into, peers, |&peer, _| {
        ground.with(bench, peer, INSTANCES, |stand| {
            connect(&stand.place, peer.address(), bench.window(WINDOW / 4))?;
            let before = host_seconds()?;
            let seen = connect(&stand.place, peer.address(), bench.window(WINDOW))?;
            let cost = (host_seconds()? - before) * 1e6 / f64::from(seen.done.max(1));
            busiest = busiest.max(seen.busy);
            Ok(vec![
                (Measure::ConnectionsPerSecond, seen.per_second()),
                (Measure::HostMicrosecondsPerConnection, cost),
            ] as Vec<Reading>)
        })
    })?;
    into.note(generator(busiest));
    Ok(())
}

/// What the share of the window in which the generator ran says about how much more it could do.
fn generator(busiest: f64) -> String {
    let more = 1.0 / busiest.max(0.01);
    let words = if more >= 1.5 {
        "it is not the limit"
    } else {
        "its core is the limit of the fastest paths; on a cable between namespaces the kernel takes a packet on the core \
         that sends it, so the servers' half of a handshake, and what a path adds to that, is work of that core too"
    };
    format!(
        "the generator ran {:.0} % of the time at most, and could do {more:.2} times as much: {words}",
        100.0 * busiest
    )
}

/// How long all cores together have been busy.
fn host_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    busy_seconds(&stat).context("find the time of all cores in /proc/stat")
}

/// user, nice, system, irq and softirq of all cores, without idle and iowait.
fn busy_seconds(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<f64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _, _, irq, softirq, ..] = fields[..] else { return None };
    Some((user + nice + system + irq + softirq) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::busy_seconds;

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(busy_seconds("cpu  100 0 200 9999 50 0 100 0 0 0\ncpu0 1 1 1\n"), Some(4.0));
        assert_eq!(busy_seconds("intr 1\n"), None);
    }
}
