//! One thread that serves any number of listeners: so the number of instances alone is what differs.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};

use crate::bench::core::Core;

/// The first byte of what a client sends in bulk: it is read and not answered.
pub(in crate::bench) const BULK: u8 = b'b';

/// How often it looks whether it is to end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Answers everything with a byte, until it is dropped.
pub(in crate::bench) struct Echo {
    accepted: Arc<[AtomicU64]>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(in crate::bench) fn start(listeners: Vec<OwnedFd>) -> Result<Self> {
        let accepted: Arc<[AtomicU64]> = listeners.iter().map(|_| AtomicU64::new(0)).collect();
        let ending = Arc::new(AtomicBool::new(false));
        let mut sockets = Sockets::watch(listeners)?;
        let (counts, end) = (Arc::clone(&accepted), Arc::clone(&ending));
        let thread = thread::spawn(move || {
            // An error leaves the clients without answers, which they report.
            let _pinned = Core::Server.pin();
            let mut events = Vec::with_capacity(256);
            while !end.load(Ordering::Relaxed) && sockets.turn(&mut events, &counts).is_ok() {}
        });
        Ok(Self { accepted, ending, thread: Some(thread) })
    }

    /// Connections that each listener has taken.
    pub(in crate::bench) fn accepted(&self) -> Vec<u64> {
        self.accepted.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// Listeners come first, and their number tells them from connections.
struct Sockets {
    epoll: OwnedFd,
    listeners: usize,
    all: Vec<Option<OwnedFd>>,
    free: Vec<usize>,
    bytes: Vec<u8>,
}

impl Sockets {
    fn watch(listeners: Vec<OwnedFd>) -> Result<Self> {
        let mut sockets = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC).context("make an epoll")?,
            listeners: listeners.len(),
            all: Vec::new(),
            free: Vec::new(),
            bytes: vec![0; 256 * 1024],
        };
        for listener in listeners {
            sockets.add(listener).context("watch a listener")?;
        }
        Ok(sockets)
    }

    fn add(&mut self, socket: OwnedFd) -> Result<(), Errno> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        });
        epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), EventFlags::IN)?;
        self.all[index] = Some(socket);
        Ok(())
    }

    /// Serves what is there now.
    fn turn(&mut self, events: &mut Vec<Event>, accepted: &[AtomicU64]) -> Result<(), Errno> {
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&LOOK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        for event in events.drain(..) {
            let index = usize::try_from({ event.data }.u64()).unwrap_or(usize::MAX);
            if index < self.listeners {
                let taken = self.accept(index)?;
                accepted[index].fetch_add(taken, Ordering::Relaxed);
            } else {
                self.answer(index);
            }
        }
        Ok(())
    }

    /// Takes what waits, and not more than leaves the others a turn.
    fn accept(&mut self, index: usize) -> Result<u64, Errno> {
        let mut taken = 0;
        while taken < 16 {
            let Some(listener) = &self.all[index] else { break };
            match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => self.add(socket)?,
                // What came has gone again, or nothing came.
                Err(_) => break,
            }
            taken += 1;
        }
        Ok(taken)
    }

    fn answer(&mut self, index: usize) {
        let Some(socket) = &self.all[index] else { return };
        let open = match recv(socket, &mut *self.bytes, RecvFlags::empty()) {
            Ok((_, 0)) => false,
            Ok(_) if self.bytes[0] == BULK => true,
            Ok(_) => send(socket, b"x", SendFlags::NOSIGNAL).is_ok(),
            Err(error) => error == Errno::AGAIN,
        };
        if !open {
            self.all[index] = None;
            self.free.push(index);
        }
    }
}
