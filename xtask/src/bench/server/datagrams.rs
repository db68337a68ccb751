//! One thread that answers the datagrams of any number of sockets.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};

use crate::bench::core::Core;

const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Sends everything back, until it is dropped.
pub(in crate::bench) struct Datagrams {
    received: Arc<[AtomicU64]>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Datagrams {
    pub(in crate::bench) fn start(sockets: Vec<OwnedFd>) -> Result<Self> {
        let received: Arc<[AtomicU64]> = sockets.iter().map(|_| AtomicU64::new(0)).collect();
        let ending = Arc::new(AtomicBool::new(false));
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("make an epoll")?;
        for (index, socket) in sockets.iter().enumerate() {
            epoll::add(&epoll, socket, EventData::new_u64(index as u64), EventFlags::IN)
                .context("watch a socket")?;
        }
        let (counts, end) = (Arc::clone(&received), Arc::clone(&ending));
        let thread = thread::spawn(move || {
            let _pinned = Core::Server.pin();
            let mut events = Vec::with_capacity(64);
            while !end.load(Ordering::Relaxed) && turn(&epoll, &sockets, &mut events, &counts).is_ok() {}
        });
        Ok(Self { received, ending, thread: Some(thread) })
    }

    /// Datagrams that each socket has been given.
    pub(in crate::bench) fn received(&self) -> Vec<u64> {
        self.received.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn turn(
    epoll: &OwnedFd,
    sockets: &[OwnedFd],
    events: &mut Vec<Event>,
    received: &[AtomicU64],
) -> Result<(), Errno> {
    match epoll::wait(epoll, spare_capacity(events), Some(&LOOK)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error),
    }
    for event in events.drain(..) {
        let index = usize::try_from({ event.data }.u64()).unwrap_or(usize::MAX);
        received[index].fetch_add(answer(&sockets[index]), Ordering::Relaxed);
    }
    Ok(())
}

/// Answers what waits, and not more than leaves the others a turn.
fn answer(socket: &OwnedFd) -> u64 {
    let mut bytes = [0; 64];
    let mut answered = 0;
    while answered < 16 {
        let Ok((_, length, Some(from))) = recvfrom(socket, &mut bytes, RecvFlags::DONTWAIT) else { break };
        // A client whose port is closed has gone.
        let _gone = sendto(socket, &bytes[..length.min(bytes.len())], SendFlags::DONTWAIT, &from);
        answered += 1;
    }
    answered
}
