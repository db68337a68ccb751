//! HTTP clients: each connects, asks, reads the answer to its end, and does so again.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType};

use crate::crowd::Crowd;
use crate::emulated::limit;
use crate::host::SERVICE;
use crate::lan::{Family, Lan};
use crate::must::{Must as _, check};
use crate::netns::Netns;
use crate::wait::wait_until;

/// So many clients can have a server that is slow for all of them; a lost SYN is sent again after 1, 3 and 7 seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a thread needs that only asks and reads.
const STACK: usize = 128 << 10;

/// The two ends of a client's connections.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The client's address, if it is not to be the usual one.
    pub own: Option<IpAddr>,
    /// Where it connects to.
    pub to: SocketAddr,
}

impl Ends {
    /// Clients of both families on a host behind the server's network, each with an address of its own, and so with
    /// ports that no other has used.
    pub fn remote(lan: &Lan, clients: u16) -> Vec<Self> {
        let crowd = Crowd::behind(lan);
        let client =
            |(client, family)| Self { own: Some(crowd.address(family, client)), to: lan.at(family, SERVICE) };
        (0..clients).zip(Family::BOTH.into_iter().cycle()).map(client).collect()
    }

    /// Clients of both families on the server itself.
    pub fn loopback(clients: usize) -> Vec<Self> {
        let client = |family: Family| Self { own: None, to: SocketAddr::new(family.loopback(), SERVICE) };
        Family::BOTH.into_iter().cycle().take(clients).map(client).collect()
    }

    /// The host next to the server.
    pub fn near(lan: &Lan) -> Self {
        Self { own: None, to: lan.at(Family::V4, SERVICE) }
    }

    /// Connects from the calling thread's namespace, asks for a path, and gives the body of the answer, with what it is
    /// that failed in front of the reason.
    pub fn get(self, path: &str) -> io::Result<String> {
        let mut stream = self.connect().map_err(|error| named("connect", &error))?;
        stream.set_read_timeout(Some(limit(PATIENCE)))?;
        let question = format!("GET {path} HTTP/1.1\r\nHost: wocut\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).map_err(|error| named("ask", &error))?;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let length = answer.len();
        read.map_err(|error| named(&format!("after {length} bytes of the answer"), &error))?;
        body(&answer).ok_or_else(|| io::Error::other(format!("the answer was {answer:?}")))
    }

    /// Asks a Python server for what it has only when it is asked again, and reads who it is.
    #[track_caller]
    pub fn begin(self, from: &Netns) -> Begun {
        let begin = || {
            let mut stream = self.connect()?;
            stream.set_read_timeout(Some(limit(PATIENCE)))?;
            stream.write_all(b"GET /wait HTTP/1.1\r\n\r\n")?;
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while !line.ends_with("\r\n\r\n") && stream.read_line(&mut line)? > 0 {}
            let server = line.lines().find_map(|line| Name::parse(line.strip_prefix("Server: ")?));
            let name = server.ok_or_else(|| io::Error::other(format!("the head was {line:?}")))?;
            Ok::<_, io::Error>(Begun { stream, name })
        };
        from.run(begin).must("begin a request")
    }

    fn connect(self) -> io::Result<TcpStream> {
        let Some(own) = self.own else { return TcpStream::connect_timeout(&self.to, limit(PATIENCE)) };
        let family = if own.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
        // It is the limit of `connect` as well.
        set_socket_timeout(&socket, Timeout::Send, Some(limit(PATIENCE)))?;
        rustix::net::bind(&socket, &SocketAddr::new(own, 0))?;
        rustix::net::connect(&socket, &self.to)?;
        Ok(socket.into())
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub struct Begun {
    stream: BufReader<TcpStream>,
    /// Who answers.
    pub name: Name,
}

impl Begun {
    /// Has it answered to its end: who it was that did.
    pub fn finish(mut self) -> io::Result<Name> {
        self.stream.get_mut().write_all(b".")?;
        let mut body = String::new();
        self.stream.read_to_string(&mut body)?;
        Name::parse(&body).ok_or_else(|| io::Error::other(format!("the body was {body:?}")))
    }
}

/// Who a server says it is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Name {
    /// Its port, as it was told.
    pub port: u16,
    /// Its version, by its arguments.
    pub version: String,
    /// Its number among the workers, as it was told.
    pub worker: Option<u32>,
    /// Its process.
    pub id: u32,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (port, version) = (words.next()?.parse().ok()?, words.next()?.to_owned());
        let worker = words.next()?.parse().ok();
        Some(Self { port, version, worker, id: words.next()?.parse().ok()? })
    }
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// The whole body of an answer that is 200.
fn body(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
    let length = head.lines().find(is_length)?.split(':').nth(1)?.trim().parse::<usize>().ok()?;
    let is_whole = head.split(' ').nth(1) == Some("200") && body.len() == length;
    is_whole.then(|| body.to_owned())
}

/// What the requests came to.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// How many requests each port answered.
    pub answers: BTreeMap<u16, u64>,
    /// How many failed, by the reason.
    pub failures: BTreeMap<String, u64>,
}

impl Sum {
    fn add(&mut self, outcome: &io::Result<String>) {
        match outcome.as_deref().map(port) {
            Ok(Some(port)) => *self.answers.entry(port).or_default() += 1,
            Ok(None) => *self.failures.entry("an answer without a port".into()).or_default() += 1,
            Err(error) => *self.failures.entry(error.to_string()).or_default() += 1,
        }
    }

    #[must_use]
    fn merge(mut self, other: Self) -> Self {
        for (port, count) in other.answers {
            *self.answers.entry(port).or_default() += count;
        }
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
        self
    }

    /// How many requests were answered.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// How many requests failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The ports that answered.
    pub fn ports(&self) -> Vec<u16> {
        self.answers.keys().copied().collect()
    }

    /// Fails the test if any request failed, or none was answered.
    #[track_caller]
    pub fn no_failure(&self) -> &Self {
        check(self.failures.is_empty() && self.answered() > 0, || self.to_string());
        self
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} requests failed: {:?}; answered: {:?}", self.failed(), self.failures, self.answers)
    }
}

/// The port that a server names first.
fn port(body: &str) -> Option<u16> {
    body.split_whitespace().next()?.parse().ok()
}

/// Clients that ask in a loop until they are stopped.
#[derive(Debug)]
pub struct Requests {
    clients: Vec<JoinHandle<Sum>>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

impl Requests {
    /// Starts a client for each of the ends, and waits until each could have asked once.
    pub fn start(from: &Netns, ends: &[Ends]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let door = Arc::new(from.door());
        let start = |&ends: &Ends| {
            let (door, stop, done) = (Arc::clone(&door), Arc::clone(&stop), Arc::clone(&done));
            let work = move || {
                door.enter();
                client(ends, &stop, &done)
            };
            thread::Builder::new().stack_size(STACK).spawn(work).must("start a client")
        };
        let requests = Self { clients: ends.iter().map(start).collect(), stop, done };
        requests.go_on(requests.clients.len() as u64);
        requests
    }

    /// From so many clients on a remote host.
    pub fn remote(lan: &Lan, clients: u16) -> Self {
        Self::start(&lan.client, &Ends::remote(lan, clients))
    }

    /// Waits until so many more requests are done.
    #[track_caller]
    pub fn go_on(&self, requests: u64) {
        let goal = self.done.load(Ordering::Relaxed) + requests;
        let reached = || self.done.load(Ordering::Relaxed) >= goal;
        wait_until("the clients ask", Duration::from_mins(1), reached);
    }

    /// Stops the clients, waits for their last answers, and gives the sum.
    pub fn stop(mut self) -> Sum {
        self.stop.store(true, Ordering::Relaxed);
        let clients = std::mem::take(&mut self.clients);
        let sums = clients.into_iter().map(|client| client.join().must("join a client"));
        sums.fold(Sum::default(), Sum::merge)
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            drop(client.join());
        }
    }
}

fn client(ends: Ends, stop: &AtomicBool, done: &AtomicU64) -> Sum {
    let mut sum = Sum::default();
    while !stop.load(Ordering::Relaxed) {
        sum.add(&ends.get("/"));
        done.fetch_add(1, Ordering::Relaxed);
    }
    sum
}

/// Asks so often, one time after the other: who answered.
#[track_caller]
pub fn ask(from: &Netns, ends: Ends, path: &str, times: usize) -> Vec<Name> {
    let one = || ends.get(path).map(|body| Name::parse(&body).must("read who it is"));
    from.run(|| (0..times).map(|_| one()).collect::<Result<_, _>>()).must("ask who is there")
}
