//! Open connections when the last rule goes.
//!
//! The kernel tracks connections while some rule asks for it (`nf_ct_netns_get`): with the last one goes the
//! translation of every connection that is open. So the marks go first, then what is open may end, then the rest goes.
//! What conntrack holds of ended connections is taken out as well. It would never be brought up to date, and a later
//! connection between the same ports would be taken for the old one.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::{
    chain::ROOT,
    conntrack::{self, Flow},
    family::Family,
    netlink::{self, AF_INET, AF_INET6},
    place, rule,
    save::Saved,
};
use crate::model::Protocol;

/// Long enough for requests that are being answered.
const PATIENCE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);

// From linux/sock_diag.h and net/tcp_states.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TIME_WAIT: u32 = 6;
const CLOSE: u32 = 7;
const LISTEN: u32 = 10;
const IPPROTO_TCP: u8 = 6;

/// Waits until no translated connection is open, for a second at most; returns how many are then.
pub(super) fn wait(family: Family, saved: &Saved) -> usize {
    let services = services(saved);
    let start = Instant::now();
    let mut before = usize::MAX;
    loop {
        // What was marked last is on its way to the nat table.
        thread::sleep(STEP);
        let (open, _) = flows(family, &services);
        // A list that changes while it is read may miss a connection once.
        if (open.len(), before) == (0, 0) || start.elapsed() > PATIENCE {
            return open.len();
        }
        before = open.len();
    }
}

/// Takes what has ended out of conntrack.
pub(super) fn forget(family: Family, saved: &Saved) {
    let (_, ended) = flows(family, &services(saved));
    // Without it, a later attach is a little less smooth: no reason to fail.
    drop(conntrack::forget(&ended));
}

/// The ports that lead to services.
fn services(saved: &Saved) -> BTreeSet<u16> {
    let root = saved.table("nat").and_then(|table| table.chains.get(ROOT));
    let port = |text: &str| rule::value(&rule::words(text), &["--dport"])?.parse().ok();
    root.into_iter().flatten().filter_map(|rule| port(&rule.text)).collect()
}

/// The connections that are translated to this host, instances that were removed before included: open ones and ended
/// ones. A connection is open while it has a socket: conntrack does not see it end while no rule asks it to look.
fn flows(family: Family, services: &BTreeSet<u16>) -> (Vec<Flow>, Vec<Flow>) {
    let mut flows = conntrack::translated(family, Protocol::Tcp, services).unwrap_or_default();
    let instances: BTreeSet<IpAddr> = flows.iter().map(|flow| flow.instance.ip()).collect();
    let local: BTreeSet<IpAddr> = instances.into_iter().filter(|address| place::is_local(*address)).collect();
    flows.retain(|flow| local.contains(&flow.instance.ip()));
    if flows.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let sockets = sockets();
    flows.into_iter().partition(|flow| sockets.contains(&(flow.instance.port(), flow.client.port())))
}

/// The local and the remote port of every open connection.
fn sockets() -> BTreeSet<(u16, u16)> {
    let mut found = BTreeSet::new();
    // A socket for both families counts as the second.
    for family in [AF_INET, AF_INET6] {
        // A kernel without IPv6 has no sockets there.
        drop(netlink::dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request(family), |body| {
            found.extend(socket(body));
        }));
    }
    found
}

/// `struct inet_diag_req_v2`: TCP, whatever the addresses.
fn request(family: u8) -> Vec<u8> {
    let states: u32 = !(1 << TIME_WAIT | 1 << CLOSE | 1 << LISTEN);
    let mut request = vec![family, IPPROTO_TCP, 0, 0];
    request.extend(states.to_ne_bytes());
    request.extend([0; 48]);
    request
}

/// `struct inet_diag_msg`: the ports are at its bytes 4 and 6.
fn socket(body: &[u8]) -> Option<(u16, u16)> {
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    Some((port(4)?, port(6)?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::{services, sockets};
    use crate::engine::iptables::save::Saved;

    #[test]
    fn open_connections_are_seen_and_listeners_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        assert!(!sockets().iter().any(|(port, _)| *port == local.port()));
        let client = TcpStream::connect(local).unwrap();
        assert!(sockets().contains(&(local.port(), client.local_addr().unwrap().port())));
    }

    #[test]
    fn services_are_what_the_rules_wait_for() {
        let text = "*nat\n[0:0] -A WOCUT -p tcp -m tcp --dport 80 -g WOCUT-web\n[0:0] -A PREROUTING -p tcp --dport 81\n";
        assert_eq!(services(&Saved::parse(text)), [80].into());
    }
}
