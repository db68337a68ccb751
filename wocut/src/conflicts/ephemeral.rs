//! Instance ports that the kernel may give to an outgoing connection while their daemon restarts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    ops::RangeInclusive,
};

use super::{Kind, Newcomer, Report};
use crate::{
    error::one_line,
    model::Protocol,
    sys::{listeners, reserved_ports},
};

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

pub(super) fn look(newcomers: &[Newcomer<'_>], report: &mut Report) {
    if newcomers.iter().all(|new| new.instances.is_empty()) {
        return;
    }
    let range = match read(RANGE) {
        Ok(range) => range,
        Err(error) => return report.unread(RANGE, &error),
    };
    for new in newcomers {
        // Ports of processes are reserved before those are started.
        let lasting = new.instances.iter().filter(|instance| instance.process.is_none());
        let ports = lasting.map(|instance| instance.spec.port).filter(|port| range.contains(port)).collect();
        let open = match reserved_ports::missing(&ports) {
            Ok(open) => open,
            Err(error) => {
                report.unread("ports that are reserved", &one_line(&error));
                ports
            }
        };
        if !open.is_empty() {
            tell(new, &open, &range, report);
        }
    }
}

fn tell(new: &Newcomer<'_>, open: &BTreeSet<u16>, range: &RangeInclusive<u16>, report: &mut Report) {
    let held = held(new, report);
    let (taken, free): (BTreeSet<u16>, BTreeSet<u16>) = open.iter().partition(|port| held.contains(port));
    let list = reserved_ports::format(&free.union(&taken).copied().collect());
    let reserve = format!("reserve it: add {} to net.ipv4.ip_local_reserved_ports", list.trim_end());
    let what = |ports: &BTreeSet<u16>| {
        let ports = reserved_ports::format(ports);
        let ports = ports.trim_end();
        format!("an outgoing connection may take instance port {ports} while its daemon is not there")
    };
    let owner =
        format!("the kernel, which gives out {} to {} (ip_local_port_range)", range.start(), range.end());
    if !free.is_empty() {
        let what = format!("{}; {reserve}", what(&free));
        report.conflicts.push(new.conflict(Kind::EphemeralPort, what, owner));
    } else if !taken.is_empty() {
        report.notes.push(format!("{}: {}; {reserve}", new.name, what(&taken)));
    }
}

/// The ports of the service's instances on which somebody listens now.
fn held(new: &Newcomer<'_>, report: &mut Report) -> BTreeSet<u16> {
    let protocols: BTreeSet<Protocol> = new.service.listen.iter().map(|listen| listen.protocol).collect();
    let mut held: BTreeMap<u16, usize> = BTreeMap::new();
    for &protocol in &protocols {
        match listeners::of(protocol) {
            Ok(all) => {
                let ports: BTreeSet<u16> = all.into_iter().map(|waiting| waiting.port).collect();
                for port in ports {
                    *held.entry(port).or_default() += 1;
                }
            }
            Err(error) => report.unread("listeners of instances", &error),
        }
    }
    held.into_iter().filter(|(_, count)| *count == protocols.len()).map(|(port, _)| port).collect()
}

fn read(path: &str) -> io::Result<RangeInclusive<u16>> {
    let text = fs::read_to_string(path)?;
    range(&text).ok_or_else(|| io::Error::other(format!("`{}` is no range", text.trim())))
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut words = text.split_ascii_whitespace();
    Some(words.next()?.parse().ok()?..=words.next()?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn the_range_is_read_as_the_kernel_prints_it() {
        assert_eq!(range("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(range("32768"), None);
    }
}
