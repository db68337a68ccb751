//! One connection: ask who is there, read the answer, close.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketType};

/// No connection may take this long.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Also a whole request of HTTP/0.9, so that nginx answers it with a bare line.
pub(crate) const QUESTION: &[u8] = b"GET /\r\n";

/// What the daemon said of itself and of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The daemon's own port.
    pub instance: u16,
    /// The client as the daemon sees it.
    pub peer: SocketAddr,
    /// The daemon's own end, by `getsockname`.
    pub local: SocketAddr,
    /// The client's end, by the client's `getsockname`.
    pub own: SocketAddr,
}

/// How far a connection came before it failed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// The kernel refused it, or nobody answered the SYN.
    Connect,
    /// It was there, and then reset, closed or silent.
    Answer,
}

/// A connection that failed.
#[derive(Debug)]
pub struct Failure {
    /// How far it came.
    pub stage: Stage,
    /// Why it failed.
    pub error: io::Error,
}

/// The stage that an error of `connect` belongs to. A reset answers no SYN, that would be a refusal: the handshake was
/// complete, and the daemon that had it died before the client looked.
fn stage_of(error: &io::Error) -> Stage {
    match error.kind() {
        io::ErrorKind::ConnectionReset => Stage::Answer,
        _ => Stage::Connect,
    }
}

/// Connects, asks, reads the answer, and gives the open connection with it.
pub fn ask(to: SocketAddr) -> Result<(Answer, BufReader<TcpStream>), Failure> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)
        .map_err(|error| Failure { stage: stage_of(&error), error })?;
    question(stream).map_err(|error| Failure { stage: Stage::Answer, error })
}

/// The same from a given end, which other connections may have too.
pub fn ask_from(from: SocketAddr, to: SocketAddr) -> Result<(Answer, BufReader<TcpStream>), Failure> {
    let stream = connect_from(from, to).map_err(|error| Failure { stage: stage_of(&error), error })?;
    question(stream).map_err(|error| Failure { stage: Stage::Answer, error })
}

fn connect_from(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &from)?;
    rustix::net::connect(&socket, &to)?;
    Ok(socket.into())
}

pub(crate) fn question(mut stream: TcpStream) -> io::Result<(Answer, BufReader<TcpStream>)> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(QUESTION)?;
    let own = stream.local_addr()?;
    let mut reader = BufReader::with_capacity(256, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let answer = parse(&line, own).ok_or_else(|| io::Error::other(format!("the answer was {line:?}")))?;
    Ok((answer, reader))
}

/// The bytes that one [`ask`] and its answer put on the wire: to the daemon, and from it.
pub fn bytes(answer: &Answer) -> (u64, u64) {
    let (peer, local) = (answer.peer, answer.local);
    let line = format!("{} {} {} {} {}\n", answer.instance, peer.ip(), peer.port(), local.ip(), local.port());
    (QUESTION.len() as u64, line.len() as u64)
}

pub(crate) fn parse(line: &str, own: SocketAddr) -> Option<Answer> {
    let mut words = line.split_whitespace();
    let instance = words.next()?.parse().ok()?;
    let mut end = || {
        let address: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(address, words.next()?.parse().ok()?))
    };
    Some(Answer { instance, peer: end()?, local: end()?, own })
}
