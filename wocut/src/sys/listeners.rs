//! The TCP listeners and the UDP sockets of this network namespace, from the kernel's socket diagnostics.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_sock_diag::inet::{InetResponse, StateFlags, nlas::Nla};

use super::sock_diag;

/// A listening TCP socket, or a UDP socket.
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
}

/// All of them, IPv4 first.
pub fn tcp() -> anyhow::Result<Vec<Listener>> {
    Ok(sock_diag::list(&StateFlags::LISTEN, None)?.iter().map(listener).collect())
}

/// The UDP sockets that would take a datagram of anybody, IPv4 first.
pub fn udp() -> anyhow::Result<Vec<Listener>> {
    Ok(sock_diag::datagram_sockets()?.iter().map(listener).collect())
}

fn listener(response: &InetResponse) -> Listener {
    let header = &response.header;
    let address = match header.socket_id.source_address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    };
    Listener {
        address,
        port: header.socket_id.source_port,
        v6_only: response.nlas.iter().any(|nla| matches!(nla, Nla::SkV6Only(true))),
        bound_to_device: header.socket_id.interface_id != 0,
        accept_queue: header.recv_queue,
    }
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
            IpAddr::V6(v6) if v6.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
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
        Listener { address, port: 8001, v6_only: false, bound_to_device: false, accept_queue: 0 }
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
