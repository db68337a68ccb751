//! The open TCP connections of this network namespace, as the kernel's socket diagnostics list them, and their end.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
};

use anyhow::Context as _;
use netlink_packet_sock_diag::{
    constants::AF_INET,
    inet::{InetResponse, SocketId, StateFlags, Timer},
};
use rustix::thread::{CapabilitySet, capabilities};

use super::sock_diag::{self, Destroyer};

/// A connection's socket on this host.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its own end; an IPv4 address mapped into IPv6 is shown as IPv4.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// What is stored for it in the map that was asked for.
    pub storage: Option<Vec<u8>>,
    family: u8,
    id: SocketId,
}

/// Why a connection cannot be ended.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// This process may not.
    #[error("to end connections takes the capability CAP_NET_ADMIN, which is missing")]
    NotPermitted,
    /// The kernel does not offer it.
    #[error(
        "to end connections takes a kernel with CONFIG_INET_DIAG_DESTROY, which this one is built without"
    )]
    NotBuilt,
    /// The kernel's own words.
    #[error("the kernel did not end a connection")]
    Failed(#[from] io::Error),
}

/// All of them, both ends where both are on this host. A handshake is none yet, and `TIME_WAIT` none any more; what is
/// closed on one side alone is open.
///
/// With a map of type `SK_STORAGE`, each has what is stored for it there (Linux 5.7, `CAP_BPF`).
pub fn open(map: Option<BorrowedFd<'_>>) -> anyhow::Result<Vec<Connection>> {
    let not_open = StateFlags::LISTEN
        | StateFlags::CLOSE
        | StateFlags::SYN_SENT
        | StateFlags::SYN_RECV
        | StateFlags::TIME_WAIT;
    let found = sock_diag::list(&(StateFlags::all() - not_open), map).context("list connections")?;
    // Once its process has closed it, a connection in FIN_WAIT2 is no more than a timer, as in TIME_WAIT.
    let is_socket = |found: &&InetResponse| found.header.timer != Some(Timer::TimeWait);
    Ok(found.iter().filter(is_socket).map(connection).collect())
}

/// The clients that are in the middle of a handshake on one of these ports.
pub fn handshakes(ports: &BTreeSet<u16>) -> anyhow::Result<BTreeSet<SocketAddr>> {
    let found = sock_diag::list(&StateFlags::SYN_RECV, None).context("list handshakes")?;
    let all = found.iter().map(connection);
    Ok(all.filter(|found| ports.contains(&found.local.port())).map(|found| found.peer).collect())
}

fn connection(response: &InetResponse) -> Connection {
    let id = &response.header.socket_id;
    let end = |address: IpAddr, port| SocketAddr::new(address.to_canonical(), port);
    Connection {
        local: end(id.source_address, id.source_port),
        peer: end(id.destination_address, id.destination_port),
        storage: sock_diag::storage(response),
        family: response.header.family,
        id: id.clone(),
    }
}

/// Ends connections at once: the other end gets a reset, this end's process an error (`ECONNABORTED`). Exactly these:
/// a later connection between the same ends is another. Returns how many there still were.
///
/// Linux 4.9 with `CONFIG_INET_DIAG_DESTROY`, `CAP_NET_ADMIN`.
pub fn destroy<'a>(connections: impl IntoIterator<Item = &'a Connection>) -> Result<usize, DestroyError> {
    let destroyer = Destroyer::new()?;
    let mut ended = 0;
    for Connection { family, id, .. } in connections {
        match destroyer.destroy(*family, id) {
            Ok(()) => ended += 1,
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(explained(error)),
        }
    }
    Ok(ended)
}

/// Tries whether [`destroy`] would work, on a connection that there is not.
pub fn can_destroy() -> Result<(), DestroyError> {
    // The kernel looks for the connection before it looks at capabilities.
    if capabilities(None).is_ok_and(|sets| !sets.effective.contains(CapabilitySet::NET_ADMIN)) {
        return Err(DestroyError::NotPermitted);
    }
    // No socket's cookie is 0.
    match Destroyer::new()?.destroy(AF_INET, &SocketId::new_v4()) {
        Err(error) if !is_gone(&error) => Err(explained(error)),
        _ => Ok(()),
    }
}

fn is_gone(error: &io::Error) -> bool {
    // ESTALE: the cookie is of an earlier connection between the same ends.
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESTALE)
}

fn explained(error: io::Error) -> DestroyError {
    match error.raw_os_error() {
        Some(libc::EPERM) => DestroyError::NotPermitted,
        Some(libc::EOPNOTSUPP) => DestroyError::NotBuilt,
        _ => DestroyError::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::open;

    fn is_open(local: std::net::SocketAddr, peer: std::net::SocketAddr) -> bool {
        open(None).unwrap().iter().any(|c| (c.local, c.peer) == (local, peer))
    }

    #[test]
    fn a_connection_is_open_until_both_ends_have_closed_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = listener.local_addr().unwrap();
        assert!(!open(None).unwrap().iter().any(|c| c.local == service), "a listener is no connection");
        let client = TcpStream::connect(service).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        assert!(is_open(service, peer) && is_open(peer, service));
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(is_open(service, peer) && is_open(peer, service));
        drop((client, accepted));
        assert!(!is_open(service, peer));
    }

    #[test]
    fn ipv4_on_a_dual_stack_listener_is_shown_as_ipv4() {
        let Ok(listener) = TcpListener::bind("[::]:0") else { return };
        let port = listener.local_addr().unwrap().port();
        let service = ([127, 0, 0, 1], port).into();
        let client = TcpStream::connect(service).unwrap();
        assert!(is_open(service, client.local_addr().unwrap()));
    }
}
