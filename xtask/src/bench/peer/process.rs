//! A peer that is a process: started on the servers' core, and waited for until it takes connections.

use std::fs::{self, File};
use std::net::{SocketAddrV4, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Transport, Up};
use crate::bench::Bench;
use crate::bench::core::Core;
use crate::bench::place::Place;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn spawn(
    bench: &Bench,
    mut command: Command,
    place: &Place,
    address: SocketAddrV4,
    transport: Transport,
) -> Result<Up> {
    let program = command.get_args().nth(1).unwrap_or_default().display().to_string();
    let log = bench.folder.join("peer.log");
    let errors = File::create(&log).with_context(|| format!("make {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let child = Core::Server.run(|| command.spawn().with_context(|| format!("start {program}")))?;
    let mut up = Up::process(child);
    let started = Instant::now();
    while !takes(place, address, transport)? {
        let ended = up.process.as_mut().map(std::process::Child::try_wait).transpose()?.flatten();
        if ended.is_some() {
            bail!("{program} ended at once: {}", fs::read_to_string(&log).unwrap_or_default().trim());
        }
        ensure!(started.elapsed() < PATIENCE, "{program} does not listen");
        thread::sleep(Duration::from_millis(2));
    }
    Ok(up)
}

/// Whether a connection is taken; a datagram socket is there when its port is not free any more.
fn takes(place: &Place, address: SocketAddrV4, transport: Transport) -> Result<bool> {
    place.as_server(|| {
        Ok(match transport {
            Transport::Tcp => TcpStream::connect(address).is_ok(),
            Transport::Udp => std::net::UdpSocket::bind(address).is_err(),
        })
    })
}
