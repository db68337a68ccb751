//! UDP flows of instances that are gone.
//!
//! Conntrack keeps a flow where it is for as long as datagrams come, whatever becomes of the rules, and for UDP nobody
//! would notice that the instance is no longer there. So what it knows of such flows is taken out, and the next
//! datagram of each is a new pick. That has to be between the rules that pick and those that translate: what no pick
//! leads to any more still has its rule, by which a command after one that was killed knows what is to be done.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
};

use super::{
    chain::{self, ROOT},
    conntrack::{self, Flow},
    family::Family,
    place, rule,
    save::Saved,
};
use crate::model::{Name, Protocol, Service};

/// Where flows go: a service's port, and the address and port of one of its instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    service: u16,
    address: Option<IpAddr>,
    instance: u16,
}

impl Way {
    fn is_of(self, flow: &Flow) -> bool {
        let address = match self.address {
            Some(address) => address == flow.instance.ip(),
            None => place::is_local(flow.instance.ip()),
        };
        address && self.service == flow.service.port() && self.instance == flow.instance.port()
    }
}

/// What is to be released, and what stays.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Release {
    gone: BTreeSet<Way>,
    staying: BTreeSet<Way>,
}

impl Release {
    pub(super) fn new(family: Family, saved: &Saved, services: &[(&Name, &Service)]) -> Self {
        let staying: BTreeSet<Way> =
            services.iter().flat_map(|(_, service)| wanted(family, service)).collect();
        Self { gone: held(saved).difference(&staying).copied().collect(), staying }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gone.is_empty()
    }

    /// Takes the flows out of conntrack.
    pub(super) fn run(&self, family: Family) -> io::Result<()> {
        let services = self.gone.iter().map(|way| way.service).collect();
        let mut flows = conntrack::translated(family, &services)?;
        let has = |ways: &BTreeSet<Way>, flow: &Flow| ways.iter().any(|way| way.is_of(flow));
        flows.retain(|flow| {
            flow.protocol == Protocol::Udp && has(&self.gone, flow) && !has(&self.staying, flow)
        });
        conntrack::forget(&flows)
    }
}

/// Where a service should lead.
fn wanted(family: Family, service: &Service) -> impl Iterator<Item = Way> {
    let listens = family.listens(service).filter(|listen| listen.protocol == Protocol::Udp);
    listens.flat_map(move |listen| {
        let instances = service.instances.iter().filter(move |instance| family.reaches(instance));
        instances.map(|instance| Way {
            service: listen.port,
            address: instance.spec.address,
            instance: instance.spec.port,
        })
    })
}

/// Where the rules lead.
fn held(saved: &Saved) -> BTreeSet<Way> {
    let Some(nat) = saved.table("nat") else { return BTreeSet::new() };
    let is_udp = |words: &[String]| rule::value(words, &["-p"]) == Some("udp");
    let mut ways = BTreeSet::new();
    for dispatch in nat.chains.get(ROOT).into_iter().flatten() {
        let words = rule::words(&dispatch.text);
        let port = rule::value(&words, &["--dport"]).and_then(|port| port.parse().ok());
        let name = rule::target(&words).and_then(|target| chain::service(target)?.parse::<Name>().ok());
        let (Some(service), Some(name), true) = (port, name, is_udp(&words)) else { continue };
        let chains = nat.chains.iter().filter(|(chain, _)| chain::is_of(chain, &name));
        for rule in chains.flat_map(|(_, rules)| rules) {
            let words = rule::words(&rule.text);
            let end = rule::value(&words, &["--to-ports", "--to-destination"]).and_then(end);
            if let (Some((address, instance)), true) = (end, is_udp(&words)) {
                ways.insert(Way { service, address, instance });
            }
        }
    }
    ways
}

/// What a rule translates to: `8001`, `:8001` or `192.0.2.1:8001`.
fn end(text: &str) -> Option<(Option<IpAddr>, u16)> {
    match text.parse::<SocketAddr>() {
        Ok(end) => Some((Some(end.ip()), end.port())),
        Err(_) => Some((None, text.trim_start_matches(':').parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::{end, held};
    use crate::engine::iptables::save::Saved;

    #[test]
    fn rules_tell_where_flows_go() {
        let text = "*nat\n\
            [0:0] -A WOCUT -p udp -m udp --dport 53 -m addrtype --dst-type LOCAL -g WOCUT-dns\n\
            [0:0] -A WOCUT -p tcp -m tcp --dport 80 -g WOCUT-dns\n\
            [0:0] -A WOCUT-dns -m comment --comment picks\n\
            [0:0] -A WOCUT-dns -o lo -p udp -m mark --mark 0x1f41/0xffff -j DNAT --to-destination :8001\n\
            [0:0] -A WOCUT-dns ! -o lo -p udp -m mark --mark 0x1f41/0xffff -j REDIRECT --to-ports 8001\n\
            [0:0] -A WOCUT-dns.2 -p udp -m mark --mark 0x1f42/0xffff -j DNAT --to-destination 10.0.0.1:8002\n\
            [0:0] -A WOCUT-dns -p tcp -m mark --mark 0x1f43/0xffff -j REDIRECT --to-ports 8003\n\
            [0:0] -A WOCUT-old -p udp -m mark --mark 0x1f44/0xffff -j REDIRECT --to-ports 8004\n";
        let ways: Vec<_> = held(&Saved::parse(text))
            .into_iter()
            .map(|way| (way.service, way.address, way.instance))
            .collect();
        assert_eq!(ways, [(53, None, 8001), (53, Some("10.0.0.1".parse().unwrap()), 8002)]);
    }

    #[test]
    fn every_way_to_write_an_end_is_read() {
        assert_eq!(end("8001"), Some((None, 8001)));
        assert_eq!(end(":8001"), Some((None, 8001)));
        assert_eq!(end("[::1]:8001"), Some((Some("::1".parse().unwrap()), 8001)));
        assert_eq!(end("8001-8004"), None);
    }
}
