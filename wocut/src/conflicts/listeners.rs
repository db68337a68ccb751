//! Others that listen on the service port: the service goes before them, which is worth to be said.

use std::net::IpAddr;

use super::{Newcomer, Report};
use crate::{
    model::{Listen, Protocol},
    sys::{
        listeners::{self, Listener},
        processes,
    },
};

pub(super) fn look(newcomers: &[Newcomer<'_>], report: &mut Report) {
    let mut found = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let listens =
            newcomers.iter().flat_map(|new| new.listens.iter().map(move |listen| (new.name, *listen)));
        let listens: Vec<_> = listens.filter(|(_, listen)| listen.protocol == protocol).collect();
        if listens.is_empty() {
            continue;
        }
        match listeners::of(protocol) {
            Ok(all) => found.extend(listens.into_iter().flat_map(|(name, listen)| {
                let there = all.iter().filter(|waiting| overlaps(listen, waiting));
                there.map(|waiting| (name, listen, waiting.clone())).collect::<Vec<_>>()
            })),
            Err(error) => report.unread("sockets on the service port", &error),
        }
    }
    if found.is_empty() {
        return;
    }
    let inodes: Vec<u32> = found.iter().map(|(_, _, waiting)| waiting.inode).collect();
    let owners = processes::holding(&inodes);
    for (name, listen, waiting) in found {
        let owner = match owners.get(&waiting.inode) {
            Some(owner) => format!("{} (process {})", owner.name, owner.pid),
            None => "a process that cannot be seen from here".into(),
        };
        let note = format!("{owner} listens on {listen} itself: `{name}` goes before it");
        if !report.notes.contains(&note) {
            report.notes.push(note);
        }
    }
}

/// Whether a socket gets, without the service, some of what the service will get.
fn overlaps(listen: &Listen, waiting: &Listener) -> bool {
    let same_family = |one: IpAddr, other: IpAddr| one.is_ipv4() == other.is_ipv4();
    let at = |address: IpAddr| match (address.is_unspecified(), waiting.address.is_unspecified()) {
        // A socket on every IPv6 address may take IPv4 as well.
        (_, true) => waiting.address.is_ipv6() || same_family(address, waiting.address),
        (true, false) => same_family(address, waiting.address),
        (false, false) => address == waiting.address,
    };
    waiting.port == listen.port && listen.addresses().any(at)
}

#[cfg(test)]
mod tests {
    use super::overlaps;
    use crate::sys::listeners::Listener;

    #[test]
    fn sockets_elsewhere_are_not_told() {
        let overlaps = |listen: &str, address: &str| {
            let waiting = Listener {
                address: address.parse().unwrap(),
                port: 80,
                v6_only: false,
                bound_to_device: false,
                accept_queue: 0,
                inode: 1,
            };
            overlaps(&listen.parse().unwrap(), &waiting)
        };
        assert!(overlaps("80/tcp", "127.0.0.1"));
        assert!(overlaps("10.0.0.1:80/tcp", "0.0.0.0"));
        assert!(overlaps("10.0.0.1:80/tcp", "::"));
        assert!(overlaps("0.0.0.0:80/tcp", "10.0.0.1"));
        assert!(!overlaps("0.0.0.0:80/tcp", "::1"));
        assert!(!overlaps("10.0.0.1:80/tcp", "10.0.0.2"));
        assert!(!overlaps("[::1]:80/tcp", "0.0.0.0"));
        assert!(!overlaps("81/tcp", "0.0.0.0"));
    }
}
