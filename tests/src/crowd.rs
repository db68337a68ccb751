//! Clients of many addresses, which one namespace answers for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType};

use crate::client::{PATIENCE, question};
use crate::lan::{Family, Lan};
use crate::must::{Must as _, check};
use crate::udp::Flow;

/// 10.3.0.0/16 and `fd00:3::/48`, in which every client has a /64 network of its own, behind a lan's client.
#[derive(Debug)]
pub struct Crowd<'a>(&'a Lan);

impl<'a> Crowd<'a> {
    /// Gives the networks to the client, and tells the server.
    pub fn behind(lan: &'a Lan) -> Self {
        for (family, prefix, network) in
            [(Family::V4, "-4", "10.3.0.0/16"), (Family::V6, "-6", "fd00:3::/48")]
        {
            lan.client.ip(&format!("{prefix} route replace local {network} dev lo"));
            lan.server.ip(&format!("{prefix} route replace {network} via {}", lan.client_address(family)));
            // For an address that no interface has, the kernel asks for its neighbours only when the link is long up.
            let refused = lan.client.run(|| meet(lan.at(family, 9)));
            check(refused.is_err(), || "the discard port answered".to_owned());
        }
        lan.client.set("ipv6/ip_nonlocal_bind", "1");
        Self(lan)
    }

    /// The address of one of the clients.
    pub fn address(&self, family: Family, client: u16) -> IpAddr {
        address(family, client)
    }

    /// Each of the clients connects to a port of the server: the instances that answered.
    #[track_caller]
    pub fn connect(&self, family: Family, clients: u16, port: u16) -> Vec<u16> {
        let to = self.0.at(family, port);
        let one = |client| connect(address(family, client), to).must("connect one of many clients");
        self.0.client.run(|| (0..clients).map(one).collect())
    }

    /// Each of the clients sends a datagram from one of its ports: the instances that answered.
    #[track_caller]
    pub fn send(&self, family: Family, clients: u16, from: u16, port: u16) -> Vec<u16> {
        let to = self.0.at(family, port);
        let one = |client| {
            let own = SocketAddr::new(address(family, client), from);
            Flow::start_at(own, to).must("send from one of many clients").answer.instance
        };
        self.0.client.run(|| (0..clients).map(one).collect())
    }
}

/// Hears from a port where nobody is.
fn meet(nobody: SocketAddr) -> io::Result<usize> {
    let any: IpAddr =
        if nobody.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(nobody)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&[0])?;
    socket.recv(&mut [0])
}

fn address(family: Family, client: u16) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(0x0a03_0000 | u32::from(client)).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 3, 0, client, 0, 0, 0, 2).into(),
    }
}

fn connect(own: IpAddr, to: SocketAddr) -> io::Result<u16> {
    let family = if own.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    // It is the limit of `connect` as well.
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    rustix::net::bind(&socket, &SocketAddr::new(own, 0))?;
    rustix::net::connect(&socket, &to)?;
    let (answer, _) = question(TcpStream::from(socket))?;
    Ok(answer.instance)
}
