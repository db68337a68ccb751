//! `memory`: what maps take in the kernel, what a command takes while it runs, and what a proxy keeps.

use std::process::Child;
use std::{fs, io};

use anyhow::{Context as _, Result};

use super::ground::{Ground, Stand};
use super::numbered::each;
use crate::bench::Bench;
use crate::bench::peer::wocut::{detach, wocut};
use crate::bench::peer::{Peer, Service};
use crate::bench::programs::map_bytes;
use crate::bench::results::{Measure, Measured};
use crate::bench::rounds::{Reading, in_turn};
use crate::bench::server::Echo;

const INSTANCES: [u16; 3] = [8, 256, 1024];
const PEERS: [Peer; 4] = [Peer::EBPF, Peer::IPTABLES, Peer::HAPROXY_RANDOM, Peer::Nginx];

pub(super) fn run(bench: &Bench, into: &mut Measured) -> Result<()> {
    let ground = Ground::<Echo>::make(&PEERS, INSTANCES[INSTANCES.len() - 1])?;
    in_turn(bench, into, each(&PEERS, &INSTANCES), |case, _| {
        let (stand, service) = (ground.of(case.peer)?, Service::tcp(case.at));
        match case.peer {
            Peer::Wocut(_) => attach(bench, stand, case.peer, &service),
            _ => proxy(bench, stand, case.peer, &service),
        }
    })
}

/// The peak of `wocut attach`, and the maps that it leaves.
fn attach(bench: &Bench, stand: &Stand<Echo>, peer: Peer, service: &Service) -> Result<Vec<Reading>> {
    let Peer::Wocut(attachment) = peer else { return Ok(Vec::new()) };
    let mut command = wocut(bench, &stand.place);
    let peak = command.args(attachment.words(service)).spawn().and_then(peak_of);
    let maps = if peer == Peer::EBPF { Some(map_bytes(&stand.place)) } else { None };
    detach(bench, &stand.place)?;
    let peak = peak.context("run wocut")?.context("find the peak memory of wocut")?;
    let peak = (Measure::PeakKibibytes, peak);
    let maps = maps.transpose()?.map(|bytes| (Measure::MapKibibytes, kibibytes(bytes)));
    Ok([peak].into_iter().chain(maps).collect())
}

/// Looked at as long as it runs: `ru_maxrss` of a child that has ended counts what this program had when it started it.
fn peak_of(mut child: Child) -> io::Result<Option<f64>> {
    let mut peak = None;
    while child.try_wait()?.is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        peak = peak_kibibytes(&status).or(peak);
    }
    Ok(peak)
}

/// The peak of a proxy that has taken its configuration.
fn proxy(bench: &Bench, stand: &Stand<Echo>, peer: Peer, service: &Service) -> Result<Vec<Reading>> {
    let up = peer.up(bench, &stand.place, service)?;
    let pid = up.pid().context("find the proxy's process")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read the proxy's memory")?;
    let peak = peak_kibibytes(&status).context("find the proxy's peak memory")?;
    Ok(vec![(Measure::PeakKibibytes, peak)])
}

fn peak_kibibytes(status: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
fn kibibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::peak_kibibytes;

    #[test]
    fn a_peak_is_read_from_status() {
        assert_eq!(peak_kibibytes("Name:\tx\nVmHWM:\t    4096 kB\n"), Some(4096.0));
        assert_eq!(peak_kibibytes("Name:\tx\n"), None);
    }
}
