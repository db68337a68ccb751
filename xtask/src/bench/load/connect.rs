//! New connections, as many as go: connect, a byte each way, reset. A reset leaves no `TIME_WAIT`, so ports do not run out.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with, sockopt,
};

use crate::bench::core::{Core, seconds_of_thread};
use crate::bench::place::Place;

/// How many are in flight.
const AT_ONCE: usize = 64;

/// How long none may get on.
const PATIENCE: Timespec = Timespec { tv_sec: 3, tv_nsec: 0 };

/// What a window saw.
#[derive(Clone, Copy)]
pub(in crate::bench) struct Connections {
    pub(in crate::bench) done: u32,
    pub(in crate::bench) seconds: f64,
    /// How much of the window the generator's thread was running.
    pub(in crate::bench) busy: f64,
}

impl Connections {
    pub(in crate::bench) fn per_second(self) -> f64 {
        f64::from(self.done) / self.seconds
    }
}

/// Makes connections to a port of a place for that long.
pub(in crate::bench) fn connect(place: &Place, to: SocketAddrV4, window: Duration) -> Result<Connections> {
    place.as_client(|| {
        Core::Client.pin()?;
        let mut clients = Clients::new(to)?;
        for index in 0..AT_ONCE {
            clients.start(index)?;
        }
        let (start, busy) = (Instant::now(), seconds_of_thread());
        while start.elapsed() < window {
            clients.turn()?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let busy = (seconds_of_thread() - busy) / seconds;
        Ok(Connections { done: clients.done, seconds, busy })
    })
}

struct Clients {
    to: SocketAddrV4,
    epoll: OwnedFd,
    all: Vec<Option<Client>>,
    events: Vec<Event>,
    done: u32,
}

struct Client {
    socket: OwnedFd,
    sent: bool,
}

impl Clients {
    fn new(to: SocketAddrV4) -> Result<Self> {
        Ok(Self {
            to,
            epoll: epoll::create(CreateFlags::CLOEXEC).context("make an epoll")?,
            all: (0..AT_ONCE).map(|_| None).collect(),
            events: Vec::with_capacity(AT_ONCE),
            done: 0,
        })
    }

    fn start(&mut self, index: usize) -> Result<()> {
        let socket = open(self.to).with_context(|| format!("connect to {}", self.to))?;
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), events)?;
        self.all[index] = Some(Client { socket, sent: false });
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&PATIENCE)) {
            Err(Errno::INTR) => {}
            waited => ensure!(waited.context("wait for connections")? > 0, "no answer from {}", self.to),
        }
        for event in events.drain(..) {
            let index = usize::try_from({ event.data }.u64()).unwrap_or(usize::MAX);
            if let Some(client) = &mut self.all[index]
                && client.goes_on().with_context(|| format!("talk to {}", self.to))?
            {
                self.done += 1;
                self.start(index)?;
            }
        }
        self.events = events;
        Ok(())
    }
}

impl Client {
    /// Does what can be done now; true when all is done.
    fn goes_on(&mut self) -> Result<bool, Errno> {
        if self.sent {
            return match recv(&self.socket, &mut [0; 8], RecvFlags::empty()) {
                Ok((_, 0)) => Err(Errno::CONNRESET),
                Ok(_) => Ok(true),
                Err(Errno::AGAIN) => Ok(false),
                Err(error) => Err(error),
            };
        }
        match send(&self.socket, b"x", SendFlags::NOSIGNAL) {
            Ok(_) => self.sent = true,
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
        Ok(false)
    }
}

/// A connection that is on its way, and ends with a reset.
fn open(to: SocketAddrV4) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}
