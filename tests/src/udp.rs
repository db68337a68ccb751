//! UDP flows: a port of the client's own, and what is answered to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::time::Instant;

use rustix::net::sockopt::set_ipv6_v6only;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::client::{Answer, Failure, PATIENCE, QUESTION, Stage, parse};
use crate::daemon::python;
use crate::lan::Family;
use crate::must::{Must as _, check};
use crate::netns::Netns;
use crate::tally::Tally;
use crate::tool::run;

/// Flows that fail after so many others have not show nothing new.
const ENOUGH: usize = 3;

/// A socket that is connected to the service, so that the kernel gives it only what the service's own port sends.
#[derive(Debug)]
pub struct Flow {
    socket: UdpSocket,
    /// What the daemon answered to the first datagram.
    pub answer: Answer,
}

impl Flow {
    /// Opens a flow from a namespace and a port of it.
    #[track_caller]
    pub fn open(from: &Netns, port: u16, to: SocketAddr) -> Self {
        from.run(|| Self::start(port, to)).must("open a flow")
    }

    /// Opens a flow from each of the ports until every one of these instances has one.
    #[track_caller]
    pub fn open_on_each(from: &Netns, ports: Range<u16>, to: SocketAddr, instances: &[u16]) -> Vec<Self> {
        let mut flows: Vec<Self> = Vec::new();
        for port in ports {
            flows.push(Self::open(from, port, to));
            if instances.iter().all(|&instance| flows.iter().any(|flow| flow.answer.instance == instance)) {
                return flows;
            }
        }
        crate::must::fail(&format!("some of {instances:?} get no flow"))
    }

    fn start(port: u16, to: SocketAddr) -> io::Result<Self> {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Self::start_at(SocketAddr::new(any, port), to)
    }

    /// From an address of the calling thread's namespace.
    pub(crate) fn start_at(own: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = bind(own)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let answer = ask(&socket)?;
        Ok(Self { socket, answer })
    }

    /// Sends a datagram of one size, and fails the test unless the instance answers with one of the other.
    #[track_caller]
    pub fn exchange(&self, up: usize, down: usize) {
        let mut question = format!("size {down} ").into_bytes();
        question.resize(up, b'.');
        self.socket.send(&question).must("send a large datagram");
        let mut datagram = vec![0; 65536];
        let length = self.socket.recv(&mut datagram).must("receive a large datagram");
        let line = String::from_utf8_lossy(&datagram[..length.min(200)]);
        let answer = parse(&line, self.answer.own);
        check(answer == Some(self.answer) && length == down, || format!("{length} bytes: {answer:?}"));
    }

    /// Asks, and does not wait for the answer.
    pub fn send(&self) {
        drop(self.socket.send(QUESTION));
    }

    /// What has come by now, if anything has: the instance, or an error of the kernel's.
    pub fn look(&self) -> Option<io::Result<u16>> {
        self.socket.set_nonblocking(true).must("look without waiting");
        let answer = receive(&self.socket);
        self.socket.set_nonblocking(false).must("wait again");
        match answer {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            answer => Some(answer.map(|answer| answer.instance)),
        }
    }

    /// Asks again from the same port, and gives the instance that answers now.
    #[track_caller]
    pub fn now_at(&self) -> u16 {
        ask(&self.socket).must("use a flow again").instance
    }

    /// Asks again.
    pub fn again(&self) -> io::Result<Answer> {
        ask(&self.socket)
    }

    /// Fails the test unless the same instance answers again, to the same client.
    #[track_caller]
    pub fn stays(&self) {
        let again = self.again().must("use a flow that was open");
        check(again == self.answer, || format!("not {:?} but {again:?}", self.answer));
    }
}

/// Opens a flow from each of the ports, one after the other. A port makes a new flow only once in a test: the kernel
/// remembers a flow for half a minute.
pub fn burst(from: &Netns, ports: Range<u16>, to: SocketAddr) -> Tally {
    from.run(|| {
        let mut tally = Tally::default();
        for port in ports {
            let start = Instant::now();
            let flow = Flow::start(port, to).map_err(|error| Failure { stage: Stage::Answer, error });
            tally.add(flow.map(|flow| flow.answer), start.elapsed());
            if tally.failures.len() >= ENOUGH {
                break;
            }
        }
        tally
    })
}

/// A port of one family alone, so that the other can have it too.
fn bind(own: SocketAddr) -> io::Result<UdpSocket> {
    if own.is_ipv4() {
        return UdpSocket::bind(own);
    }
    let socket =
        rustix::net::socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    set_ipv6_v6only(&socket, true)?;
    rustix::net::bind(&socket, &own)?;
    Ok(socket.into())
}

/// A socket that is not connected, and so is told where each answer comes from.
#[derive(Debug)]
pub struct Caller(UdpSocket);

impl Caller {
    /// On a port of a namespace.
    #[track_caller]
    pub fn on(from: &Netns, family: Family, port: u16) -> Self {
        let own = SocketAddr::new(family.unspecified(), port);
        let socket = from.run(|| bind(own)).must("bind a port");
        socket.set_read_timeout(Some(PATIENCE)).must("set a timeout");
        Self(socket)
    }

    /// Asks, and gives the instance that answers, and from where.
    #[track_caller]
    pub fn ask(&self, to: SocketAddr) -> (u16, SocketAddr) {
        self.0.send_to(QUESTION, to).must("send a datagram");
        let mut datagram = [0; 256];
        let (length, from) = self.0.recv_from(&mut datagram).must("receive a datagram");
        let line = String::from_utf8_lossy(&datagram[..length]);
        (parse(&line, to).must("read the answer").instance, from)
    }

    /// Asks, and does not wait for the answer.
    pub fn send(&self, to: SocketAddr) {
        self.0.send_to(QUESTION, to).must("send a datagram");
    }

    /// Whether anything has come by now.
    pub fn has_answer(&self) -> bool {
        self.0.set_nonblocking(true).must("look without waiting");
        let looked = self.0.recv(&mut [0; 256]);
        self.0.set_nonblocking(false).must("wait again");
        looked.is_ok()
    }
}

/// What a Python daemon for UDP has counted: datagrams and bytes received, bytes sent. It is asked at its own port.
#[track_caller]
pub fn counted(from: &Netns, at: SocketAddr) -> [u64; 3] {
    let ask = || -> io::Result<Vec<u64>> {
        let family = if at.is_ipv4() { Family::V4 } else { Family::V6 };
        let socket = bind(SocketAddr::new(family.unspecified(), 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(at)?;
        socket.send(b"count")?;
        let mut datagram = [0; 256];
        let length = socket.recv(&mut datagram)?;
        let line = String::from_utf8_lossy(&datagram[..length]);
        Ok(line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    };
    from.run(ask).must("ask a daemon for its counts").try_into().must("read the counts")
}

/// Lets a client that sends as few do (see `odd.py`) send so many datagrams, and gives the instances that answered.
#[track_caller]
pub fn odd(from: &Netns, how: &str, port: u16, to: SocketAddr, datagrams: usize) -> Vec<u16> {
    let mut command = python(from, include_str!("odd.py"));
    command.args([how, &to.ip().to_string(), &to.port().to_string(), &port.to_string()]);
    let answers = run(command.arg(datagrams.to_string()));
    let instance = |line: &str| parse(line, to).must("read an answer").instance;
    answers.lines().map(instance).collect()
}

fn ask(socket: &UdpSocket) -> io::Result<Answer> {
    socket.send(QUESTION)?;
    receive(socket)
}

fn receive(socket: &UdpSocket) -> io::Result<Answer> {
    let mut datagram = [0; 256];
    let length = socket.recv(&mut datagram)?;
    let line = String::from_utf8_lossy(&datagram[..length]);
    parse(&line, socket.local_addr()?).ok_or_else(|| io::Error::other(format!("the answer was {line:?}")))
}

/// Sends a question, has `later` bring about what would be answered after it, and says whether it was not answered.
pub fn unanswered(from: &Netns, to: SocketAddr, later: impl FnOnce() + Send) -> bool {
    from.run(|| {
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).must("open a socket");
        socket.connect(to).must("connect a socket");
        socket.send(QUESTION).must("send a datagram");
        later();
        socket.set_nonblocking(true).must("have a socket not wait");
        let answer = socket.recv(&mut [0; 256]);
        matches!(answer, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    })
}
