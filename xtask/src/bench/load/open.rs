//! Traffic on connections that are open already.

use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::bench::core::Core;
use crate::bench::place::Place;
use crate::bench::server::BULK;

/// How long nothing may happen.
const PATIENCE: Timespec = Timespec { tv_sec: 3, tv_nsec: 0 };

/// What goes over the connections.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(in crate::bench) enum Way {
    /// A byte there and a byte back, on 64 connections at once.
    RoundTrips,
    /// As many bytes as go, on 8.
    Bulk,
}

impl Way {
    const fn connections(self) -> usize {
        match self {
            Self::RoundTrips => 64,
            Self::Bulk => 8,
        }
    }

    const fn events(self) -> EventFlags {
        match self {
            Self::RoundTrips => EventFlags::IN,
            Self::Bulk => EventFlags::OUT,
        }
    }
}

/// Round trips or bytes a second. `window` is called when the connections are open, and has the run last that long.
pub(in crate::bench) fn converse(
    place: &Place,
    to: SocketAddrV4,
    way: Way,
    window: impl FnOnce() -> Result<Duration> + Send,
) -> Result<f64> {
    place.as_client(|| {
        Core::Client.pin()?;
        let mut clients = Clients::connect(to, way)?;
        let window = window()?;
        let start = Instant::now();
        while start.elapsed() < window {
            clients.turn()?;
        }
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let done = clients.done as f64;
        Ok(done / start.elapsed().as_secs_f64())
    })
}

struct Clients {
    way: Way,
    epoll: OwnedFd,
    sockets: Vec<TcpStream>,
    bytes: Vec<u8>,
    events: Vec<Event>,
    done: u64,
}

impl Clients {
    /// Opens the connections, with one round trip on each, so that whoever is between has opened its own.
    fn connect(to: SocketAddrV4, way: Way) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("make an epoll")?;
        let mut sockets = Vec::new();
        for index in 0..way.connections() {
            let socket = TcpStream::connect(to).with_context(|| format!("connect to {to}"))?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(Duration::from_secs(3)))?;
            round_trip(&socket).with_context(|| format!("talk to {to}"))?;
            socket.set_nonblocking(true)?;
            epoll::add(&epoll, &socket, EventData::new_u64(index as u64), way.events())?;
            sockets.push(socket);
        }
        let bytes = match way {
            Way::RoundTrips => vec![b'x'],
            Way::Bulk => vec![BULK; 64 * 1024],
        };
        let mut clients = Self { way, epoll, sockets, bytes, events: Vec::with_capacity(64), done: 0 };
        for index in 0..clients.sockets.len() {
            clients.send(index)?;
        }
        Ok(clients)
    }

    fn send(&mut self, index: usize) -> Result<()> {
        match send(&self.sockets[index], &self.bytes, SendFlags::NOSIGNAL) {
            Ok(sent) if self.way == Way::Bulk => self.done += sent as u64,
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => return Err(error).context("send"),
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&PATIENCE)) {
            Err(Errno::INTR) => {}
            waited => ensure!(waited.context("wait for traffic")? > 0, "nothing moves"),
        }
        for event in events.drain(..) {
            let index = usize::try_from({ event.data }.u64()).unwrap_or(usize::MAX);
            if self.way == Way::RoundTrips {
                let (_, length) =
                    recv(&self.sockets[index], &mut [0; 8], RecvFlags::empty()).context("receive")?;
                ensure!(length > 0, "a connection was closed");
                self.done += 1;
            }
            self.send(index)?;
        }
        self.events = events;
        Ok(())
    }
}

fn round_trip(socket: &TcpStream) -> Result<()> {
    send(socket, b"x", SendFlags::NOSIGNAL)?;
    let (_, length) = recv(socket, &mut [0; 1], RecvFlags::empty())?;
    ensure!(length > 0, "a connection was closed");
    Ok(())
}
