//! Requests that come when they come, whether or not earlier ones were answered: what waits is counted from when a
//! request was to be sent, so that a slow server cannot slow its own clients down and look good.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with, sockopt,
};

use super::arrivals::{Arrival, arrivals};
use crate::bench::core::Core;
use crate::bench::place::{self, Place};

/// What clients ask for.
#[derive(Clone, Copy)]
pub(in crate::bench) struct Load {
    pub(in crate::bench) seed: u64,
    pub(in crate::bench) per_second: f64,
    /// Which part of the requests is long work.
    pub(in crate::bench) long: f64,
    pub(in crate::bench) window: Duration,
    /// How long the last answers may take.
    pub(in crate::bench) patience: Duration,
}

/// How long each request took, in milliseconds, in order.
pub(in crate::bench) struct Answers(pub(in crate::bench) Vec<f64>);

/// Sends requests to a port of a place, each on a connection of its own. `started` is called with the first one.
pub(in crate::bench) fn ask(
    place: &Place,
    to: SocketAddrV4,
    load: Load,
    started: impl FnOnce() + Send,
) -> Result<Answers> {
    place.as_client(|| {
        Core::Client.pin()?;
        let mut clients = Clients {
            to,
            epoll: epoll::create(CreateFlags::CLOEXEC).context("make an epoll")?,
            requests: Vec::new(),
            waiting: 0,
            milliseconds: Vec::new(),
            start: Instant::now(),
        };
        started();
        clients.run(&arrivals(load.seed, load.per_second, load.long, load.window), load)?;
        clients.milliseconds.sort_by(f64::total_cmp);
        Ok(Answers(clients.milliseconds))
    })
}

struct Clients {
    to: SocketAddrV4,
    epoll: OwnedFd,
    requests: Vec<Option<Request>>,
    waiting: usize,
    milliseconds: Vec<f64>,
    start: Instant,
}

struct Request {
    socket: OwnedFd,
    arrival: Arrival,
    sent: bool,
}

impl Clients {
    fn run(&mut self, all: &[Arrival], load: Load) -> Result<()> {
        let mut coming = all.iter().peekable();
        let end = load.window + load.patience;
        while coming.peek().is_some() || self.waiting > 0 {
            let now = self.start.elapsed();
            ensure!(now < end, "{} requests were never answered", self.waiting);
            while let Some(arrival) = coming.next_if(|arrival| arrival.at <= now) {
                self.send(*arrival).with_context(|| format!("connect to {}", self.to))?;
            }
            let until = coming.peek().map_or(end, |arrival| arrival.at);
            self.turn(until.saturating_sub(self.start.elapsed()))?;
        }
        Ok(())
    }

    fn send(&mut self, arrival: Arrival) -> Result<(), Errno> {
        let index = self.requests.len();
        let socket = open(self.to, index)?;
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), events)?;
        self.requests.push(Some(Request { socket, arrival, sent: false }));
        self.waiting += 1;
        Ok(())
    }

    fn turn(&mut self, time: Duration) -> Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        let time = Timespec::try_from(time).context("a time to wait")?;
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&time)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for answers"),
        }
        for event in events {
            let index = usize::try_from({ event.data }.u64()).unwrap_or(usize::MAX);
            let Some(request) = &mut self.requests[index] else { continue };
            if request.goes_on().with_context(|| format!("talk to {}", self.to))? {
                let took = self.start.elapsed().saturating_sub(request.arrival.at);
                self.milliseconds.push(took.as_secs_f64() * 1e3);
                self.requests[index] = None;
                self.waiting -= 1;
            }
        }
        Ok(())
    }
}

impl Request {
    /// Does what can be done now; true when it is answered.
    fn goes_on(&mut self) -> Result<bool, Errno> {
        if !self.sent {
            match send(&self.socket, &[self.arrival.work.byte()], SendFlags::NOSIGNAL) {
                Ok(_) => self.sent = true,
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        match recv(&self.socket, &mut [0; 8], RecvFlags::empty()) {
            Ok((_, 0)) => Err(Errno::CONNRESET),
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A connection from one of the clients' addresses in turn, that ends with a reset.
fn open(to: SocketAddrV4, number: usize) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    let client = place::client(u8::try_from(number % usize::from(place::CLIENTS)).unwrap_or(0));
    bind(&socket, &SocketAddrV4::new(client, 0))?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}
