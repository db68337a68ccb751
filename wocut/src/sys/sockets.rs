//! Who takes what comes to the ports of this network namespace: listening TCP sockets, and UDP sockets without a peer.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink::{self, AF_INET, AF_INET6};
use crate::model::Protocol;

// From linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const LISTEN: u32 = 1 << 10;
const CLOSE: u32 = 1 << 7;
/// Length of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;

/// A socket that waits for whoever comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it is bound to.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its inode number.
    pub inode: u32,
}

/// All of them, IPv4 first.
pub fn waiting(protocol: Protocol) -> io::Result<Vec<Waiting>> {
    let mut found = dump(AF_INET, protocol)?;
    // A kernel without IPv6 has no sockets there.
    found.extend(dump(AF_INET6, protocol).unwrap_or_default());
    Ok(found)
}

fn dump(family: u8, protocol: Protocol) -> io::Result<Vec<Waiting>> {
    let (number, states) = match protocol {
        Protocol::Tcp => (6, LISTEN),
        Protocol::Udp => (17, CLOSE),
    };
    let mut request = vec![family, number, 0, 0];
    request.extend(states.to_ne_bytes());
    request.resize(REQUEST, 0);
    let mut found = Vec::new();
    netlink::dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request, |body| {
        found.extend(parse(body));
    })?;
    Ok(found)
}

/// Reads `struct inet_diag_msg`.
fn parse(body: &[u8]) -> Option<Waiting> {
    let port = u16::from_be_bytes(body.get(4..6)?.try_into().ok()?);
    let address: [u8; 16] = body.get(8..24)?.try_into().ok()?;
    let inode = netlink::number(body.get(68..72)?)?;
    let address = match *body.first()? {
        AF_INET => {
            let [a, b, c, d, ..] = address;
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => IpAddr::from(Ipv6Addr::from(address)).to_canonical(),
    };
    Some(Waiting { address, port, inode })
}

#[cfg(test)]
mod tests {
    use super::waiting;
    use crate::model::Protocol;

    #[test]
    fn own_sockets_are_found() {
        let at = |protocol, port| {
            let found = waiting(protocol).unwrap().into_iter().find(|one| one.port == port);
            found.map(|one| one.address.to_string())
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(at(Protocol::Tcp, port).as_deref(), Some("127.0.0.1"));
        if let Ok(udp) = std::net::UdpSocket::bind("[::1]:0") {
            let port = udp.local_addr().unwrap().port();
            assert_eq!(at(Protocol::Udp, port).as_deref(), Some("::1"));
        }
    }
}
