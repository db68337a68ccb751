//! A server host and a client host on one wire.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use crate::netns::{Netns, sweep};

/// The two families that every behaviour holds in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The loopback address.
    pub fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    /// The address that stands for every one.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// The address of a host in a network: `near` of [`connect`] is 1 and `far` is 2.
    pub fn host(self, network: u8, host: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, network, 0, host).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, network.into(), 0, 0, 0, 0, 0, host.into()).into(),
        }
    }
}

/// Namespaces joined by veth pairs: `client` — `server`, and behind the server, which then routes, `beyond`.
///
/// Lans take turns, whatever the number of test threads: a test under load needs the machine for itself.
#[derive(Debug)]
pub struct Lan {
    /// Where the daemons and wocut are: 10.1.0.1 and `fd00:1::1`.
    pub server: Netns,
    /// Where the clients are: 10.1.0.2 and `fd00:1::2`.
    pub client: Netns,
    /// Another host, reached through the server: 10.2.0.2 and `fd00:2::2`.
    pub beyond: Option<Netns>,
    _turn: MutexGuard<'static, ()>,
}

impl Lan {
    /// The server and the client.
    pub fn new() -> Self {
        let turn = take_turn();
        let lan =
            Self { server: Netns::new("server"), client: Netns::new("client"), beyond: None, _turn: turn };
        connect(&lan.server, &lan.client, 1);
        // 20,000 connections from one address, their TIME_WAITs on this side.
        lan.client.set("ipv4/ip_local_port_range", "1024 65535");
        lan.client.set("ipv4/tcp_tw_reuse", "1");
        lan
    }

    /// The server, the client, and a host beyond the server.
    pub fn with_beyond() -> Self {
        let mut lan = Self::new();
        let beyond = Netns::new("beyond");
        connect(&lan.server, &beyond, 2);
        lan.server.set("ipv4/ip_forward", "1");
        lan.server.set("ipv6/conf/all/forwarding", "1");
        for (host, network) in [(&lan.client, 1), (&beyond, 2)] {
            for family in Family::BOTH {
                let prefix = if family == Family::V4 { "-4" } else { "-6" };
                host.ip(&format!("{prefix} route add default via {}", family.host(network, 1)));
            }
        }
        lan.beyond = Some(beyond);
        lan
    }

    /// A port of the server, as the client sees it.
    pub fn at(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(family.host(1, 1), port)
    }

    /// The client's address.
    pub fn client_address(&self, family: Family) -> IpAddr {
        family.host(1, 2)
    }

    /// A port of the host beyond the server.
    pub fn beyond_at(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(family.host(2, 2), port)
    }
}

impl Default for Lan {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits until nobody else is at work, and sweeps up after those who were killed.
pub(crate) fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static SWEEP: Once = Once::new();
    // A test that failed poisons the lock, and has cleaned up all the same.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    SWEEP.call_once(sweep);
    turn
}

/// Joins two namespaces by a veth pair; `near` gets host 1 of the network and `far` host 2.
pub fn connect(near: &Netns, far: &Netns, network: u8) {
    near.ip(&format!("link add lan{network} type veth peer name lan{network} netns {}", far.name()));
    for (netns, host) in [(near, 1), (far, 2)] {
        netns.ip(&format!("address add {}/24 dev lan{network}", Family::V4.host(network, host)));
        netns.ip(&format!("address add {}/64 dev lan{network} nodad", Family::V6.host(network, host)));
        netns.ip(&format!("link set lan{network} up"));
    }
}
