//! Open connections when the last rule goes.
//!
//! The kernel tracks connections while some rule asks for it (`nf_ct_netns_get`): with the last one goes the
//! translation of every connection that is open. So the marks go first, then what is open may end, then the rest goes.
//! What conntrack holds of ended connections is taken out as well. It would never be brought up to date, and a later
//! connection between the same ports would be taken for the old one.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::{
    conntrack::{self, Flow},
    family::Family,
    netlink::{self, AF_INET, AF_INET6},
    rule,
    save::Saved,
};

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
    let instances = instances(saved);
    let start = Instant::now();
    let mut before = usize::MAX;
    loop {
        // What was marked last is on its way to the nat table.
        thread::sleep(STEP);
        let open = open(family, &instances);
        // A list that changes while it is read may miss a connection once.
        if (open, before) == (0, 0) || start.elapsed() > PATIENCE {
            return open;
        }
        before = open;
    }
}

/// Takes what has ended out of conntrack.
pub(super) fn forget(family: Family, saved: &Saved) {
    let instances = instances(saved);
    let sockets = sockets(&instances);
    // Without it, a later attach is a little less smooth: no reason to fail.
    let mut ended = conntrack::translated(family, &instances).unwrap_or_default();
    ended.retain(|flow| !sockets.contains(&ports(flow)));
    drop(conntrack::forget(&ended));
}

/// A connection is open while it has a socket: conntrack does not see it end while no rule asks it to look.
fn open(family: Family, instances: &BTreeSet<u16>) -> usize {
    let sockets = sockets(instances);
    // Conntrack's list may be long.
    if sockets.is_empty() {
        return 0;
    }
    let translated = conntrack::translated(family, instances).unwrap_or_default();
    translated.iter().filter(|flow| sockets.contains(&ports(flow))).count()
}

/// The ports on both sides of the instance's socket.
fn ports(flow: &Flow) -> (u16, u16) {
    (flow.instance, flow.client.port())
}

/// The local and the remote port of every open connection to one of the instances.
fn sockets(instances: &BTreeSet<u16>) -> BTreeSet<(u16, u16)> {
    let mut found = BTreeSet::new();
    // A socket for both families counts as the second.
    for family in [AF_INET, AF_INET6] {
        let read = |body: &[u8]| found.extend(socket(body).filter(|(local, _)| instances.contains(local)));
        // A kernel without IPv6 has no sockets there.
        drop(netlink::dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request(family), read));
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

/// The ports that the rules of the nat table lead to.
fn instances(saved: &Saved) -> BTreeSet<u16> {
    let rules = saved.table("nat").into_iter().flat_map(|table| table.chains.values().flatten());
    let port = |text: &str| {
        let words = rule::words(text);
        let place = rule::value(&words, &["--to-ports", "--to-destination"])?;
        place.rsplit(':').next()?.parse().ok()
    };
    rules.filter_map(|rule| port(&rule.text)).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::{instances, sockets};
    use crate::engine::iptables::save::Saved;

    #[test]
    fn open_connections_are_seen_and_listeners_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        assert!(sockets(&[local.port()].into()).is_empty());
        let client = TcpStream::connect(local).unwrap();
        let remote = client.local_addr().unwrap();
        assert_eq!(sockets(&[local.port()].into()), [(local.port(), remote.port())].into());
    }

    #[test]
    fn instances_are_where_the_rules_lead() {
        let text = "*nat\n[0:0] -A WOCUT-web -p tcp -j REDIRECT --to-ports 8001\n\
                    [0:0] -A WOCUT-web -p tcp -j DNAT --to-destination [::1]:8002\n[0:0] -A WOCUT -g WOCUT-web\n";
        assert_eq!(instances(&Saved::parse(text)), [8001, 8002].into());
    }
}
