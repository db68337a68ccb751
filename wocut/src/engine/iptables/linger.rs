//! Open connections when the last rule goes.
//!
//! The kernel tracks connections while some rule asks for it (`nf_ct_netns_get`): with the last one goes the
//! translation of every connection that is open. So the marks go first, then what is open may end, then the rest goes.
//! What conntrack holds of ended connections is taken out as well. It would never be brought up to date, and a later
//! connection between the same ports would be taken for the old one.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use super::{
    conntrack::{self, Flow},
    family::Family,
    rule,
    save::Saved,
};

/// Long enough for requests that are being answered.
const PATIENCE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);
/// A thread may be in another network namespace than its process.
const PROC: &str = "/proc/thread-self/net";

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
    let mut ended = conntrack::translated(family, &instances);
    ended.retain(|flow| !sockets.contains(&ports(flow)));
    // Without it, a later attach is a little less smooth: no reason to fail.
    drop(conntrack::forget(&ended));
}

/// A connection is open while it has a socket: conntrack does not see it end while no rule asks it to look.
fn open(family: Family, instances: &BTreeSet<u16>) -> usize {
    let sockets = sockets(instances);
    // Conntrack's list may be long.
    if sockets.is_empty() {
        return 0;
    }
    let translated = conntrack::translated(family, instances);
    translated.iter().filter(|flow| sockets.contains(&ports(flow))).count()
}

/// The ports on both sides of the instance's socket.
fn ports(flow: &Flow) -> (u16, u16) {
    (flow.instance, flow.client.port())
}

/// The local and the remote port of every open connection to one of the instances.
fn sockets(instances: &BTreeSet<u16>) -> BTreeSet<(u16, u16)> {
    let read = |name: &&str| fs::read_to_string(format!("{PROC}/{name}")).unwrap_or_default();
    // A socket for both families stands in the second.
    ["tcp", "tcp6"].iter().flat_map(|name| parse(&read(name), instances)).collect()
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

/// Reads `tcp` or `tcp6`.
fn parse(text: &str, instances: &BTreeSet<u16>) -> BTreeSet<(u16, u16)> {
    let of_line = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let mut port = || u16::from_str_radix(words.next()?.rsplit(':').next()?, 16).ok();
        let (local, remote) = (port()?, port()?);
        let is_open = !["06", "07", "0A"].contains(&words.next()?); // TIME_WAIT, CLOSE, LISTEN
        (is_open && instances.contains(&local)).then_some((local, remote))
    };
    text.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;

    const SOCKETS: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0100010A:1F41 0200010A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0100010A:1F41 0200010A:9C41 06 00000000:00000000 00:00000000 00000000     0        0 0
";

    #[test]
    fn only_open_sockets_count() {
        assert_eq!(parse(SOCKETS, &[8001].into()), [(8001, 40000)].into());
        assert!(parse(SOCKETS, &[8002].into()).is_empty());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ipv46 tcpsdor=:0-9A-F\\n]*") {
            parse(&text, &[8].into());
        }
    }
}
