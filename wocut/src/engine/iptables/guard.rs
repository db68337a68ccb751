//! `--guard`: who is not on this host is refused at the instances' own ports.
//!
//! The filter table sees a connection after its translation: what tells a client of the service from one of the
//! instance's port is what it first asked for, which conntrack knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::RangeInclusive,
};

use super::{family::Family, rules::refusal};
use crate::model::{Protocol, Service};

/// The rules that refuse, for the filter table's chain. A connection that is open stays, so only a first packet of TCP
/// will do: conntrack takes what it meets halfway for new.
pub(super) fn rules<'a>(family: Family, services: impl Iterator<Item = &'a Service>) -> Vec<String> {
    let mut guarded: BTreeMap<(Option<IpAddr>, Protocol), BTreeSet<u16>> = BTreeMap::new();
    for service in services.filter(|service| service.options.guard) {
        let instances = service.instances.iter().filter(|instance| family.reaches(instance));
        for instance in instances {
            for listen in &service.listen {
                guarded
                    .entry((instance.spec.address, listen.protocol))
                    .or_default()
                    .insert(instance.spec.port);
            }
        }
    }
    let mut rules = Vec::new();
    for ((address, protocol), ports) in guarded {
        let destination = address.map_or_else(String::new, |address| family.destination(address));
        let first = if protocol == Protocol::Tcp { " --tcp-flags FIN,SYN,RST,ACK SYN" } else { "" };
        let target = refusal(protocol, family);
        rules.extend(ranges(&ports).map(|ports| {
            format!(
                "{destination}! -i lo -p {protocol} -m {protocol} --dport {ports}{first} \
                 -m conntrack --ctstate NEW --ctorigdstport {ports} -j {target}"
            )
        }));
    }
    rules
}

/// Ports in a row, of which one rule takes care, as rules have them.
pub(super) fn ranges(ports: &BTreeSet<u16>) -> impl Iterator<Item = String> {
    let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some(range) if range.end() + 1 == *port => *range = *range.start()..=*port,
            _ => ranges.push(*port..=*port),
        }
    }
    ranges.into_iter().map(|range| match range.into_inner() {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}:{last}"),
    })
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn ports_in_a_row_are_one_range() {
        assert!(ranges(&[1, 2, 3, 5, 65534, 65535].into()).eq(["1:3", "5", "65534:65535"]));
        assert_eq!(ranges(&[].into()).count(), 0);
    }
}
