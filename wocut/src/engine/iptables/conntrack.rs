//! The kernel's table of tracked connections: reads it, and takes entries out.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::{
    family::Family,
    netlink::{self, AF_INET, AF_INET6},
};
use crate::model::Protocol;

// From linux/netfilter/nfnetlink_conntrack.h.
const NESTED: u16 = 1 << 15;
const CT_GET: u16 = 1 << 8 | 1;
const CT_DELETE: u16 = 1 << 8 | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
// From linux/in.h.
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// A connection, or what UDP has instead, that is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) protocol: Protocol,
    pub(super) client: SocketAddr,
    /// What the client asked for.
    pub(super) service: SocketAddr,
    /// Who answers.
    pub(super) instance: SocketAddr,
    /// The client as the instance sees it: of two with the same port, the kernel gives one another port.
    pub(super) peer: SocketAddr,
}

/// The flows that are translated, with one of these ports as what the client asked for.
pub(super) fn translated(family: Family, services: &BTreeSet<u16>) -> io::Result<Vec<Flow>> {
    let family = match family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    };
    let mut flows = Vec::new();
    netlink::dump(NETLINK_NETFILTER, CT_GET, &[family, 0, 0, 0], |body| {
        let wanted = |flow: &Flow| services.contains(&flow.service.port());
        flows.extend(flow(body).filter(wanted));
    })?;
    Ok(flows)
}

/// Has the kernel forget flows.
pub(super) fn forget(flows: &[Flow]) -> io::Result<()> {
    netlink::send(NETLINK_NETFILTER, CT_DELETE, &flows.iter().map(name).collect::<Vec<_>>())
}

/// Reads what is tracked, if it is translated.
fn flow(body: &[u8]) -> Option<Flow> {
    let attributes = body.get(4..)?;
    let (protocol, client, service) = tuple(find(attributes, CTA_TUPLE_ORIG)?)?;
    let (_, instance, peer) = tuple(find(attributes, CTA_TUPLE_REPLY)?)?;
    (service != instance).then_some(Flow { protocol, client, service, instance, peer })
}

/// Where from and where to.
fn tuple(attributes: &[u8]) -> Option<(Protocol, SocketAddr, SocketAddr)> {
    let (ip, protocol) = (find(attributes, CTA_TUPLE_IP)?, find(attributes, CTA_TUPLE_PROTO)?);
    let spoken = match *find(protocol, CTA_PROTO_NUM)? {
        [IPPROTO_TCP] => Protocol::Tcp,
        [IPPROTO_UDP] => Protocol::Udp,
        _ => return None,
    };
    let address = |v4, v6| {
        let v4 = find(ip, v4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(IpAddr::from);
        v4.or_else(|| find(ip, v6).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(IpAddr::from))
    };
    let port = |kind| Some(u16::from_be_bytes(find(protocol, kind)?.try_into().ok()?));
    Some((
        spoken,
        SocketAddr::new(address(CTA_IP_V4_SRC, CTA_IP_V6_SRC)?, port(CTA_PROTO_SRC_PORT)?),
        SocketAddr::new(address(CTA_IP_V4_DST, CTA_IP_V6_DST)?, port(CTA_PROTO_DST_PORT)?),
    ))
}

/// The value of the first attribute of that kind.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?) & !NESTED;
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// The body of a message about one flow.
fn name(flow: &Flow) -> Vec<u8> {
    let (family, source, destination) = match (flow.client.ip(), flow.service.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            (AF_INET, attribute(CTA_IP_V4_SRC, &from.octets()), attribute(CTA_IP_V4_DST, &to.octets()))
        }
        // A connection has one family; the kernel would refuse anything else.
        (from, to) => (AF_INET6, attribute(CTA_IP_V6_SRC, &v6(from)), attribute(CTA_IP_V6_DST, &v6(to))),
    };
    let number = match flow.protocol {
        Protocol::Tcp => IPPROTO_TCP,
        Protocol::Udp => IPPROTO_UDP,
    };
    let protocol = [
        attribute(CTA_PROTO_NUM, &[number]),
        attribute(CTA_PROTO_SRC_PORT, &flow.client.port().to_be_bytes()),
        attribute(CTA_PROTO_DST_PORT, &flow.service.port().to_be_bytes()),
    ];
    let tuple = [
        attribute(CTA_TUPLE_IP | NESTED, &[source, destination].concat()),
        attribute(CTA_TUPLE_PROTO | NESTED, &protocol.concat()),
    ];
    // struct nfgenmsg: family, version 0, resource 0.
    [vec![family, 0, 0, 0], attribute(CTA_TUPLE_ORIG | NESTED, &tuple.concat())].concat()
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or_default();
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_PROTO_DST_PORT, CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_TUPLE_IP,
        CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, Flow, NESTED, attribute, flow, name,
    };
    use crate::model::Protocol;

    fn tuple(from: [u8; 4], to: [u8; 4], protocol: u8, ports: (u16, u16)) -> Vec<u8> {
        let ip = [attribute(CTA_IP_V4_SRC, &from), attribute(CTA_IP_V4_DST, &to)].concat();
        let protocol = [
            attribute(CTA_PROTO_NUM, &[protocol]),
            attribute(CTA_PROTO_SRC_PORT, &ports.0.to_be_bytes()),
            attribute(CTA_PROTO_DST_PORT, &ports.1.to_be_bytes()),
        ]
        .concat();
        [attribute(CTA_TUPLE_IP | NESTED, &ip), attribute(CTA_TUPLE_PROTO | NESTED, &protocol)].concat()
    }

    fn tracked(protocol: u8, service: u16, instance: u16) -> Vec<u8> {
        let (client, host) = ([10, 1, 0, 2], [10, 1, 0, 1]);
        let asked = attribute(CTA_TUPLE_ORIG | NESTED, &tuple(client, host, protocol, (40000, service)));
        let answers = attribute(CTA_TUPLE_REPLY | NESTED, &tuple(host, client, protocol, (instance, 40000)));
        [vec![2, 0, 0, 0], asked, answers].concat()
    }

    #[test]
    fn only_translated_flows_are_read() {
        let [client, service, instance] =
            ["10.1.0.2:40000", "10.1.0.1:80", "10.1.0.1:8001"].map(|s| s.parse().unwrap());
        for (number, protocol) in [(6, Protocol::Tcp), (17, Protocol::Udp)] {
            let read = Flow { protocol, client, service, instance, peer: client };
            assert_eq!(flow(&tracked(number, 80, 8001)), Some(read));
            assert_eq!(flow(&tracked(number, 8001, 8001)), None);
        }
        assert_eq!(flow(&tracked(132, 80, 8001)), None);
    }

    #[test]
    fn a_flow_is_named_as_the_kernel_names_it() {
        for number in [6, 17] {
            let kernels = tracked(number, 80, 8001);
            let ours = name(&flow(&kernels).unwrap());
            assert_eq!(ours, kernels[..ours.len()]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at: u8, value: u8) {
            let mut broken = tracked(6, 80, 8001);
            let at = usize::from(at) % broken.len();
            broken[at] = value;
            prop_assert!(flow(&bytes).is_none() || flow(&broken).is_none() || at > 0);
        }
    }
}
