//! Who takes what comes to the ports of this network namespace: listening TCP sockets, and UDP sockets without a peer.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::Context as _;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink::{self, AF_INET, AF_INET6};
use crate::model::Protocol;

// From linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const LISTEN: u32 = 1 << 10;
const CLOSE: u32 = 1 << 7;
const V6_ONLY: u16 = 11;
/// Length of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// Length of `struct inet_diag_msg`.
const ANSWER: usize = 72;

/// A listening TCP socket, or a UDP socket that would take a datagram of anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it is bound to; an IPv4 address mapped into IPv6 is shown as IPv4.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// One of IPv6 takes no IPv4 (`IPV6_V6ONLY`).
    pub v6_only: bool,
    /// It is bound to one device (`SO_BINDTODEVICE`).
    pub bound_to_device: bool,
    /// Connections that wait to be accepted.
    pub accept_queue: u32,
    /// Its inode number.
    pub inode: u32,
}

/// All that listen for TCP, IPv4 first.
pub fn tcp() -> anyhow::Result<Vec<Listener>> {
    of(Protocol::Tcp).context("ask the kernel for listening sockets")
}

/// All that wait for UDP, IPv4 first.
pub fn udp() -> anyhow::Result<Vec<Listener>> {
    of(Protocol::Udp).context("ask the kernel for UDP sockets")
}

/// All of them, IPv4 first. An error for UDP, where the kernel is built without `CONFIG_INET_UDP_DIAG`.
pub fn of(protocol: Protocol) -> io::Result<Vec<Listener>> {
    let (number, states) = match protocol {
        Protocol::Tcp => (6, LISTEN),
        Protocol::Udp => (17, CLOSE),
    };
    let mut found = Vec::new();
    // A kernel without IPv6 answers as well: there are none.
    for family in [AF_INET, AF_INET6] {
        let mut request = vec![family, number, 0, 0];
        request.extend(states.to_ne_bytes());
        request.resize(REQUEST, 0);
        netlink::dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request, |body| found.extend(parse(body)))?;
    }
    Ok(found)
}

/// Reads `struct inet_diag_msg`, and the attributes behind it.
fn parse(body: &[u8]) -> Option<Listener> {
    let (socket, attributes) = body.split_at_checked(ANSWER)?;
    let number = |at: usize| netlink::number(socket.get(at..at + 4)?);
    let address: [u8; 16] = socket[8..24].try_into().ok()?;
    let address = if socket[0] == AF_INET {
        let [a, b, c, d, ..] = address;
        Ipv4Addr::new(a, b, c, d).into()
    } else {
        IpAddr::from(Ipv6Addr::from(address)).to_canonical()
    };
    Some(Listener {
        address,
        port: u16::from_be_bytes([socket[4], socket[5]]),
        v6_only: netlink::attribute(attributes, V6_ONLY) == Some(&[1]),
        bound_to_device: number(40)? != 0,
        accept_queue: number(56)?,
        inode: number(68)?,
    })
}

impl Listener {
    /// Whether a connection to this place would reach it. A dual-stack listener also takes IPv4.
    pub fn serves(&self, address: Option<IpAddr>, port: u16) -> bool {
        let any =
            self.address.is_unspecified() && (self.address.is_ipv6() || address.is_none_or(|a| a.is_ipv4()));
        self.port == port && (any || address.is_none_or(|address| address == self.address))
    }

    /// An address at which the kernel finds it.
    pub fn reachable_at(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            bound => bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr, TcpListener};

    use rustix::net::{AddressFamily, SocketType, sockopt::set_ipv6_v6only};

    use super::Listener;

    fn bound(address: &str) -> Listener {
        let address = address.parse().unwrap();
        Listener { address, port: 8001, v6_only: false, bound_to_device: false, accept_queue: 0, inode: 0 }
    }

    #[test]
    fn listener_serves_what_its_address_covers() {
        let at = |address: &str| Some(address.parse().unwrap());
        assert!(bound("0.0.0.0").serves(None, 8001));
        assert!(bound("127.0.0.1").serves(None, 8001));
        assert!(!bound("0.0.0.0").serves(None, 8002));
        assert!(bound("0.0.0.0").serves(at("127.0.0.1"), 8001));
        assert!(!bound("0.0.0.0").serves(at("::1"), 8001));
        assert!(bound("::").serves(at("127.0.0.1"), 8001));
        assert!(bound("::").serves(at("::1"), 8001));
        assert!(!bound("10.0.0.1").serves(at("127.0.0.1"), 8001));
        assert!(bound("10.0.0.1").serves(at("10.0.0.1"), 8001));
    }

    #[test]
    fn own_datagram_socket_is_found() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(super::udp().unwrap().iter().any(|l| l.serves(Some([127, 0, 0, 1].into()), port)));
    }

    #[test]
    fn listener_of_one_family_is_told_from_one_of_both() {
        let bind = |v6_only| {
            let socket = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
            set_ipv6_v6only(&socket, v6_only).unwrap();
            rustix::net::bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
            rustix::net::listen(&socket, 1).unwrap();
            TcpListener::from(socket)
        };
        for v6_only in [false, true] {
            let listener = bind(v6_only);
            let port = listener.local_addr().unwrap().port();
            let found = super::tcp().unwrap();
            assert!(found.iter().any(|l| l.port == port && l.v6_only == v6_only), "{found:?}");
        }
    }

    #[test]
    fn own_listener_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = super::tcp().unwrap();
        assert!(found.iter().any(|l| l.serves(Some([127, 0, 0, 1].into()), port)));
    }
}
