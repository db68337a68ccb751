//! UDP flows: a port of the client's own, and what is answered to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::time::Instant;

use rustix::net::sockopt::set_ipv6_v6only;
use rustix::net::{AddressFamily, SocketType};

use crate::client::{Answer, Failure, PATIENCE, QUESTION, Stage, parse};
use crate::must::{Must as _, check};
use crate::netns::Netns;
use crate::tally::Tally;

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
    let socket = rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None)?;
    set_ipv6_v6only(&socket, true)?;
    rustix::net::bind(&socket, &own)?;
    Ok(socket.into())
}

fn ask(socket: &UdpSocket) -> io::Result<Answer> {
    socket.send(QUESTION)?;
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
