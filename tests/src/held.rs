//! Connections that stay open.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use crate::client::{Answer, PATIENCE, ask, ask_from};
use crate::must::{Must as _, check};
use crate::netns::Netns;

/// An open connection to a Python daemon.
#[derive(Debug)]
pub struct Held {
    stream: BufReader<TcpStream>,
    /// What the daemon answered when the connection was made.
    pub answer: Answer,
}

impl Held {
    /// Opens a connection from a namespace and waits for the first answer.
    #[track_caller]
    pub fn open(from: &Netns, to: SocketAddr) -> Self {
        let (answer, stream) = from.run(|| ask(to)).must("open a connection to hold");
        Self { stream, answer }
    }

    /// The same from an end of the namespace's, which other connections may have too.
    #[track_caller]
    pub fn open_from(from: &Netns, own: SocketAddr, to: SocketAddr) -> Self {
        let (answer, stream) = from.run(|| ask_from(own, to)).must("open a connection from a given end");
        Self { stream, answer }
    }

    /// Opens so many connections, one after the other, or so many at a time.
    #[track_caller]
    pub fn open_many(from: &Netns, to: SocketAddr, connections: usize, at_once: usize) -> Vec<Self> {
        let open = |count: usize| {
            from.enter();
            let one = || ask(to).must("open a connection to hold");
            (0..count).map(|_| one()).map(|(answer, stream)| Self { stream, answer }).collect::<Vec<_>>()
        };
        let part = |n: usize| connections / at_once + usize::from(n < connections % at_once);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..at_once).map(|n| scope.spawn(move || open(part(n)))).collect();
            clients.into_iter().flat_map(|client| client.join().must("join a client")).collect()
        })
    }

    /// Opens connections until every one of these instances has one.
    #[track_caller]
    pub fn open_on_each(from: &Netns, to: SocketAddr, instances: &[u16]) -> Vec<Self> {
        let mut held: Vec<Self> = Vec::new();
        let has = |held: &[Self], instance: u16| held.iter().any(|one| one.answer.instance == instance);
        while !instances.iter().all(|&instance| has(&held, instance)) {
            held.push(Self::open(from, to));
            check(held.len() < 100 * instances.len(), || format!("some of {instances:?} get no connection"));
        }
        held
    }

    /// Sends a line and reads it back.
    pub fn ping(&mut self) -> io::Result<()> {
        self.stream.get_mut().write_all(b"still there?\n")?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line == "still there?\n" {
            Ok(())
        } else {
            Err(io::Error::other(format!("the echo was {line:?}")))
        }
    }

    /// Fails the test unless the connection was reset.
    #[track_caller]
    pub fn dead(&mut self) {
        let instance = self.answer.instance;
        let kind = self.ping().map_err(|error| error.kind());
        let is_reset = matches!(kind, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
        check(is_reset, || format!("a connection to {instance} is not reset, but {kind:?}"));
    }

    /// Sends the end of what there is to send, and goes on reading.
    pub fn close_half(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).must("close half of a connection");
    }

    /// Fails the test if the connection is dead.
    #[track_caller]
    pub fn alive(&mut self) {
        let instance = self.answer.instance;
        self.ping().must(&format!("use a connection to {instance} that was open"));
    }
}

/// Opens connections and sends nothing, which leaves them in the accept queue of a stopped daemon.
pub fn silent(from: &Netns, to: SocketAddr, connections: usize) -> Vec<TcpStream> {
    let connect = || TcpStream::connect_timeout(&to, PATIENCE).ok();
    from.run(|| (0..connections).filter_map(|_| connect()).collect())
}
