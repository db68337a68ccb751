//! Many connections: a fixed number of them, or as many as go while a test does something else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::ask;
use crate::must::Must as _;
use crate::netns::Netns;
use crate::tally::Tally;
use crate::wait::wait_until;

/// Clients that a burst has at work at once.
const CLIENTS: u64 = 32;
/// A client that has failed so often has shown it, and need not wait for the rest.
const ENOUGH: usize = 10;

/// Makes so many connections from a namespace, some at once.
pub fn burst(from: &Netns, to: SocketAddr, connections: u64) -> Tally {
    let left = AtomicU64::new(connections);
    let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let client = || {
        from.enter();
        let mut tally = Tally::default();
        while tally.failures.len() < ENOUGH && take() {
            connection(to, &mut tally);
        }
        tally
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS.min(connections)).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .map(|client| client.join().must("join a client"))
            .fold(Tally::default(), Tally::merge)
    })
}

fn connection(to: SocketAddr, tally: &mut Tally) {
    let start = Instant::now();
    let outcome = ask(to).map(|(answer, _)| answer);
    tally.add(outcome, start.elapsed());
}

/// Clients that connect in a loop until they are stopped.
#[derive(Debug)]
pub struct Load {
    clients: Vec<JoinHandle<Tally>>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

impl Load {
    /// Starts so many clients, spread over the targets, and waits until each could have connected once.
    pub fn start(from: &Netns, targets: &[SocketAddr], clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let door = Arc::new(from.door());
        let start = |&to: &SocketAddr| {
            let (door, stop, done) = (Arc::clone(&door), Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                door.enter();
                client(to, &stop, &done)
            })
        };
        let clients: Vec<_> = targets.iter().cycle().take(clients).map(start).collect();
        let load = Self { clients, stop, done };
        load.go_on(load.clients.len() as u64);
        load
    }

    /// Waits until so many more connections are done.
    #[track_caller]
    pub fn go_on(&self, connections: u64) {
        let goal = self.done.load(Ordering::Relaxed) + connections;
        let reached = || self.done.load(Ordering::Relaxed) >= goal;
        wait_until("the clients connect", Duration::from_mins(1), reached);
    }

    /// Stops the clients, waits for their last connections, and gives the sum.
    pub fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let clients = std::mem::take(&mut self.clients);
        clients
            .into_iter()
            .map(|client| client.join().must("join a client"))
            .fold(Tally::default(), Tally::merge)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            drop(client.join());
        }
    }
}

fn client(to: SocketAddr, stop: &AtomicBool, done: &AtomicU64) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        connection(to, &mut tally);
        done.fetch_add(1, Ordering::Relaxed);
    }
    tally
}
