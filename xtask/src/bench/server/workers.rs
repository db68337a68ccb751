//! Single-threaded workers, each busy with one connection at a time, as the daemons are that wocut is for.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, accept_with};

use std::io::{Read as _, Write as _};

use crate::bench::core::Core;

/// How often a worker looks whether it is to end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What a request asks a worker to do, as one byte. Working is waiting: so 8 workers have a core that is idle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::bench) enum Work {
    Short,
    Long,
}

impl Work {
    pub(in crate::bench) const fn byte(self) -> u8 {
        match self {
            Self::Short => b's',
            Self::Long => b'l',
        }
    }

    pub(in crate::bench) const fn time(self) -> Duration {
        match self {
            Self::Short => Duration::from_millis(1),
            Self::Long => Duration::from_millis(50),
        }
    }

    fn of(byte: u8) -> Self {
        if byte == Self::Long.byte() { Self::Long } else { Self::Short }
    }
}

/// They work until they are dropped.
pub(in crate::bench) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    ending: AtomicBool,
    start: Instant,
    each: Vec<Worker>,
}

#[derive(Default)]
struct Worker {
    accepted: AtomicU64,
    /// Until when it is stopped, in milliseconds after the start.
    stopped_until: AtomicU64,
}

impl Workers {
    /// One worker for each set of listeners.
    pub(in crate::bench) fn start(listeners: Vec<Vec<OwnedFd>>) -> Self {
        let each = listeners.iter().map(|_| Worker::default()).collect();
        let shared = Arc::new(Shared { ending: AtomicBool::new(false), start: Instant::now(), each });
        let work = |(index, listeners): (usize, Vec<OwnedFd>)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let _pinned = Core::Server.pin();
                shared.work(index, &listeners);
            })
        };
        let threads = listeners.into_iter().enumerate().map(work).collect();
        Self { shared, threads }
    }

    /// Connections that each worker has taken.
    pub(in crate::bench) fn accepted(&self) -> Vec<u64> {
        self.shared.each.iter().map(|worker| worker.accepted.load(Ordering::Relaxed)).collect()
    }

    /// Stops the first worker for a while, as SIGSTOP would: what it holds waits, and its listener stays.
    pub(in crate::bench) fn stop_first(&self, time: Duration) {
        let until = self.shared.start.elapsed() + time;
        if let Some(worker) = self.shared.each.first() {
            worker.stopped_until.store(milliseconds(until), Ordering::Relaxed);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

impl Shared {
    fn work(&self, index: usize, listeners: &[OwnedFd]) {
        let worker = &self.each[index];
        while !self.ending.load(Ordering::Relaxed) {
            let mut watched: Vec<_> = listeners.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            let _interrupted = poll(&mut watched, Some(&LOOK));
            let ready = watched.iter().position(|fd| fd.revents().contains(PollFlags::IN));
            self.wait_while_stopped(worker);
            // Another worker may have been faster at a listener that they share.
            if let Some(Ok(socket)) = ready.map(|fd| accept_with(&listeners[fd], SocketFlags::CLOEXEC)) {
                worker.accepted.fetch_add(1, Ordering::Relaxed);
                // A client that has gone is no concern of the worker.
                let _gone = self.answer(worker, TcpStream::from(socket));
            }
        }
    }

    fn answer(&self, worker: &Worker, mut client: TcpStream) -> std::io::Result<()> {
        client.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        thread::sleep(Work::of(byte[0]).time());
        self.wait_while_stopped(worker);
        client.write_all(&byte)
    }

    fn wait_while_stopped(&self, worker: &Worker) {
        let until = Duration::from_millis(worker.stopped_until.load(Ordering::Relaxed));
        thread::sleep(until.saturating_sub(self.start.elapsed()));
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
