//! Sockets in the servers' namespace of a place.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use rustix::net::{
    AddressFamily, Protocol, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt,
};

use crate::bench::place::Place;

/// How a listener is made.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(in crate::bench) enum Kind {
    Plain,
    /// Several on one port.
    Reuseport,
    /// As an ordinary Go server listens.
    Mptcp,
}

impl Kind {
    const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Plain | Self::Reuseport => None,
            Self::Mptcp => Some(ipproto::MPTCP),
        }
    }
}

/// Listeners on these ports.
pub(in crate::bench) fn listeners(place: &Place, kind: Kind, ports: &[u16]) -> Result<Vec<OwnedFd>> {
    place.as_server(|| {
        let make = |&port: &u16| listener(kind, port).with_context(|| format!("listen on port {port}"));
        ports.iter().map(make).collect()
    })
}

fn listener(kind: Kind, port: u16) -> Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        kind.protocol(),
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, kind == Kind::Reuseport)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    listen(&socket, 4096)?;
    Ok(socket)
}

/// Datagram sockets on these ports.
pub(in crate::bench) fn datagram_sockets(place: &Place, kind: Kind, ports: &[u16]) -> Result<Vec<OwnedFd>> {
    place.as_server(|| {
        let make = |&port: &u16| datagram(kind, port).with_context(|| format!("bind port {port}"));
        ports.iter().map(make).collect()
    })
}

fn datagram(kind: Kind, port: u16) -> Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_reuseport(&socket, kind == Kind::Reuseport)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    Ok(socket)
}
