//! The open connections that came through a service, told from others by their translation.
//!
//! A daemon's sockets do not say how a client came: through the service, or to the instance's own port. Conntrack
//! does. TCP is open while it has a socket, whatever conntrack still remembers; a UDP flow is what conntrack remembers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use anyhow::Context as _;

use super::{
    conntrack::{self, Flow},
    family::Family,
};
use crate::{
    model::{Instance, Protocol, Service},
    sys::connections::{self, Connection},
};

/// What is open between a client and an instance.
struct Open {
    flow: Flow,
    /// The daemon's socket; UDP has none of its own.
    connection: Option<Connection>,
}

/// How many connections and flows came through the service to its instances.
pub(super) fn count(service: &Service, others: &[&Service]) -> anyhow::Result<usize> {
    Ok(open(service, others)?.len())
}

/// Ends them; returns how many. A client that goes on with a UDP flow gets a new one.
pub(super) fn kill(service: &Service, others: &[&Service]) -> anyhow::Result<usize> {
    let open = open(service, others)?;
    let sockets: Vec<&Connection> = open.iter().filter_map(|open| open.connection.as_ref()).collect();
    // The reset on its way to the client is translated back, so this comes first.
    let ended = connections::destroy(sockets.iter().copied())?;
    let flows: Vec<Flow> = open.iter().map(|open| open.flow).collect();
    conntrack::forget(&flows).context("take flows out of conntrack")?;
    Ok(ended + flows.len() - sockets.len())
}

fn open(service: &Service, others: &[&Service]) -> anyhow::Result<Vec<Open>> {
    let sockets = connections::open(None)?;
    let is_instances =
        |found: &Connection| service.instances.iter().any(|instance| answers(instance, found.local));
    let has_udp = service.listen.iter().any(|listen| listen.protocol == Protocol::Udp);
    // Conntrack remembers connections for minutes, and a busy host has very many of them.
    if !has_udp && !sockets.iter().any(is_instances) {
        return Ok(Vec::new());
    }
    let ports: BTreeSet<u16> = service.listen.iter().map(|listen| listen.port).collect();
    let mut flows = Vec::new();
    for family in Family::ALL {
        let found = conntrack::translated(family, &ports);
        flows.extend(found.with_context(|| format!("list the tracked {family} connections"))?);
    }
    flows.retain(|flow| {
        leads_to(service, flow) && service.instances.iter().any(|instance| answers(instance, flow.instance))
            // An address of another service goes before every address of this one.
            && (is_named(service, flow) || !others.iter().any(|other| is_named(other, flow)))
    });
    let mut sockets: BTreeMap<_, _> =
        sockets.into_iter().map(|found| ((found.local, found.peer), found)).collect();
    let mut with_socket = |flow: Flow| match (flow.protocol, sockets.remove(&(flow.instance, flow.peer))) {
        (Protocol::Tcp, None) => None,
        (Protocol::Tcp, connection) => Some(Open { flow, connection }),
        (Protocol::Udp, _) => Some(Open { flow, connection: None }),
    };
    Ok(flows.into_iter().filter_map(&mut with_socket).collect())
}

/// Whether the client asked for a place that the service listens at.
fn leads_to(service: &Service, flow: &Flow) -> bool {
    is_named(service, flow)
        || at_port(service, flow).any(|address| {
            address
                .is_none_or(|address| address.is_unspecified() && address.is_ipv4() == flow.service.is_ipv4())
        })
}

/// Whether it asked for an address that the service names.
fn is_named(service: &Service, flow: &Flow) -> bool {
    at_port(service, flow).any(|address| address == Some(flow.service.ip()))
}

/// The addresses of the service's LISTENs on the port that was asked for.
fn at_port(service: &Service, flow: &Flow) -> impl Iterator<Item = Option<std::net::IpAddr>> {
    let Flow { protocol, service: asked, .. } = *flow;
    let listens = service.listen.iter();
    listens
        .filter(move |listen| listen.protocol == protocol && listen.port == asked.port())
        .map(|listen| listen.address)
}

fn answers(instance: &Instance, place: SocketAddr) -> bool {
    instance.spec.port == place.port() && instance.spec.address.is_none_or(|address| address == place.ip())
}

#[cfg(test)]
mod tests {
    use super::{Flow, answers, is_named, leads_to};
    use crate::model::{EngineKind, Instance, Options, Protocol, Service};

    fn service(listen: &str) -> Service {
        Service {
            description: None,
            check: None,
            index: 0,
            engine: EngineKind::Iptables,
            engine_reason: None,
            listen: listen.split(' ').map(|listen| listen.parse().unwrap()).collect(),
            options: Options::default(),
            instances: Vec::new(),
        }
    }

    fn flow(protocol: Protocol, asked: &str) -> Flow {
        let (client, instance) = ("10.1.0.2:40000".parse().unwrap(), "10.1.0.1:8001".parse().unwrap());
        Flow { protocol, client, service: asked.parse().unwrap(), instance, peer: client }
    }

    #[test]
    fn a_flow_is_of_the_service_whose_place_was_asked_for() {
        let v4 = flow(Protocol::Tcp, "10.1.0.1:80");
        let v6 = flow(Protocol::Tcp, "[fd00::1]:80");
        assert!(leads_to(&service("80/tcp"), &v4) && leads_to(&service("80/tcp"), &v6));
        assert!(leads_to(&service("0.0.0.0:80/tcp"), &v4) && !leads_to(&service("0.0.0.0:80/tcp"), &v6));
        assert!(leads_to(&service("81/tcp 10.1.0.1:80/tcp"), &v4));
        assert!(is_named(&service("10.1.0.1:80/tcp"), &v4) && !is_named(&service("80/tcp"), &v4));
        for other in ["80/udp", "81/tcp", "10.1.0.2:80/tcp"] {
            assert!(!leads_to(&service(other), &v4), "{other}");
        }
    }

    #[test]
    fn an_instance_with_an_address_answers_there_alone() {
        let instance = |spec: &str| Instance::new(1, spec.parse().unwrap());
        let place = "10.1.0.1:8001".parse().unwrap();
        assert!(answers(&instance("8001"), place) && answers(&instance("a=10.1.0.1:8001"), place));
        assert!(!answers(&instance("8002"), place) && !answers(&instance("a=10.1.0.2:8001"), place));
    }
}
