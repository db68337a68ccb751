//! Datagrams that are sent back: each flow has one on its way, and sends the next when it is back.

use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::bench::core::Core;
use crate::bench::place::{self, Place};

/// After that time without any answer, datagrams were lost and are sent again.
const AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// How often in a row that may be so.
const PATIENCE: u32 = 20;

/// What a window saw.
#[derive(Clone, Copy)]
pub(in crate::bench) struct Datagrams {
    /// There and back.
    pub(in crate::bench) done: u32,
    pub(in crate::bench) seconds: f64,
}

/// Exchanges datagrams with a port of a place.
pub(in crate::bench) fn exchange(
    place: &Place,
    to: SocketAddrV4,
    flows: u8,
    window: Duration,
) -> Result<Datagrams> {
    place.as_client(|| {
        Core::Client.pin()?;
        let mut clients = Clients::new(to, flows)?;
        clients.send_all()?;
        let start = Instant::now();
        while start.elapsed() < window {
            clients.turn()?;
        }
        Ok(Datagrams { done: clients.done, seconds: start.elapsed().as_secs_f64() })
    })
}

struct Clients {
    epoll: OwnedFd,
    sockets: Vec<UdpSocket>,
    events: Vec<Event>,
    done: u32,
    silences: u32,
}

impl Clients {
    fn new(to: SocketAddrV4, flows: u8) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("make an epoll")?;
        let mut sockets = Vec::new();
        for flow in 0..flows {
            let socket = UdpSocket::bind((place::client(flow), 0)).context("make a datagram socket")?;
            socket.connect(to).with_context(|| format!("connect to {to}"))?;
            socket.set_nonblocking(true)?;
            epoll::add(&epoll, &socket, EventData::new_u64(u64::from(flow)), EventFlags::IN)?;
            sockets.push(socket);
        }
        Ok(Self { epoll, sockets, events: Vec::with_capacity(64), done: 0, silences: 0 })
    }

    fn send_all(&self) -> Result<()> {
        for socket in &self.sockets {
            send(socket, b"x", SendFlags::empty()).context("send a datagram")?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&AGAIN)) {
            Ok(0) => {
                self.silences += 1;
                ensure!(self.silences < PATIENCE, "no datagram comes back");
                self.send_all()?;
            }
            Ok(_) => self.silences = 0,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for datagrams"),
        }
        for event in events.drain(..) {
            let socket = &self.sockets[usize::try_from({ event.data }.u64()).unwrap_or(usize::MAX)];
            recv(socket, &mut [0; 8], RecvFlags::empty()).context("receive a datagram")?;
            self.done += 1;
            send(socket, b"x", SendFlags::empty()).context("send a datagram")?;
        }
        self.events = events;
        Ok(())
    }
}
