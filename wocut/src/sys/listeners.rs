//! The TCP listeners and connections of this network namespace, from the kernel's socket diagnostics.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, bail};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

/// A listening TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it is bound to; an IPv4 address mapped into IPv6 is shown as IPv4.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// It is bound to one device (`SO_BINDTODEVICE`).
    pub bound_to_device: bool,
    /// Connections that wait to be accepted.
    pub accept_queue: u32,
}

/// All of them, IPv4 first.
pub fn tcp() -> anyhow::Result<Vec<Listener>> {
    Ok(dump_all(&StateFlags::LISTEN)?.iter().map(listener).collect())
}

/// How many connections are open on a port of this host.
pub fn open_connections(port: u16) -> anyhow::Result<usize> {
    let open = StateFlags::all() - StateFlags::LISTEN - StateFlags::CLOSE - StateFlags::TIME_WAIT;
    let found = dump_all(&open)?;
    Ok(found.iter().filter(|socket| socket.header.socket_id.source_port == port).count())
}

fn dump_all(states: &StateFlags) -> anyhow::Result<Vec<InetResponse>> {
    let mut all = dump(AF_INET, states)?;
    // A kernel without IPv6 has no sockets there.
    all.extend(dump(AF_INET6, states).unwrap_or_default());
    Ok(all)
}

fn dump(family: u8, states: &StateFlags) -> anyhow::Result<Vec<InetResponse>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG).context("open a socket for socket diagnostics")?;
    socket.bind_auto().context("bind a socket for socket diagnostics")?;
    socket.connect(&SocketAddr::new(0, 0)).context("connect a socket for socket diagnostics")?;
    socket.send(&request(family, states), 0).context("ask the kernel for sockets")?;

    let mut found = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full().context("read sockets from the kernel")?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message = <NetlinkMessage<SockDiagMessage>>::deserialize(rest).context("read a socket")?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    found.push(*response);
                }
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => bail!("ask the kernel for sockets: {error}"),
                _ => {}
            }
            let length = usize::try_from(message.header.length)?.next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
        }
    }
}

fn request(family: u8, states: &StateFlags) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let question = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: states.clone(),
        socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(question).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
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
    use super::Listener;

    fn bound(address: &str) -> Listener {
        Listener { address: address.parse().unwrap(), port: 8001, bound_to_device: false, accept_queue: 0 }
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
    fn own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = super::tcp().unwrap();
        assert!(found.iter().any(|l| l.serves(Some([127, 0, 0, 1].into()), port)));
    }
}
