//! Connections from chosen addresses, and in a chosen order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::client::{ask, ask_from};
use crate::lan::{Family, Lan};
use crate::must::Must as _;
use crate::netns::Netns;

/// Clients at work at once.
const AT_ONCE: usize = 16;

/// Gives the client of a lan all of 10.9.0.0/16 and `fd00:9::/32`, and the server the way there.
pub fn gather(lan: &Lan) {
    lan.client.ip("route add local 10.9.0.0/16 dev lo");
    lan.client.ip("-6 route add local fd00:9::/32 dev lo");
    lan.client.set("ipv6/ip_nonlocal_bind", "1");
    for (family, network) in [(Family::V4, "10.9.0.0/16"), (Family::V6, "fd00:9::/32")] {
        lan.server.ip(&format!("route add {network} via {}", lan.client_address(family)));
    }
    // Neighbours look for each other from whatever address has something to send, and the answers to many cross.
    let ends = [
        (&lan.client, &lan.server, lan.at(Family::V6, 0).ip()),
        (&lan.server, &lan.client, lan.client_address(Family::V6)),
    ];
    for (near, far, address) in ends {
        let link = far.ip("-o link show lan1");
        let hardware =
            link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).must("find the link");
        near.ip(&format!("neighbour replace {address} lladdr {hardware} dev lan1"));
    }
}

/// Client `host` of network `network`: 10.9.`network`.`host`, and `fd00:9:0:network::host`.
pub fn member(family: Family, network: u16, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 9, network.to_be_bytes()[1], host).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 9, 0, network, 0, 0, 0, host.into()).into(),
    }
}

/// One connection from each of these addresses, some at once; gives the instances that answered, in the same order.
#[track_caller]
pub fn from_each(from: &Netns, clients: &[IpAddr], to: SocketAddr) -> Vec<u16> {
    let next = AtomicUsize::new(0);
    let work = || {
        from.enter();
        let mut answers = Vec::new();
        while let Some((n, &client)) = take(&next, clients) {
            let (answer, _) = ask_from((client, 0).into(), to).must("connect from a chosen address");
            answers.push((n, answer.instance));
        }
        answers
    };
    let mut answers: Vec<(usize, u16)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().must("join a client")).collect()
    });
    answers.sort_unstable();
    answers.into_iter().map(|(_, instance)| instance).collect()
}

fn take<'a, T>(next: &AtomicUsize, all: &'a [T]) -> Option<(usize, &'a T)> {
    let n = next.fetch_add(1, Ordering::Relaxed);
    Some((n, all.get(n)?))
}

/// So many connections, each closed before the next begins; gives the instances that answered, in order.
#[track_caller]
pub fn in_turn(from: &Netns, to: SocketAddr, connections: usize) -> Vec<u16> {
    from.run(|| (0..connections).map(|_| ask(to).must("connect in turn").0.instance).collect())
}
