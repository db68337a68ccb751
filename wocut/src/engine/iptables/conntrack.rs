//! The kernel's table of tracked connections: reads it, and takes entries out.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, SocketAddr},
};

use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_NETFILTER};

use super::family::Family;

/// A thread may be in another network namespace than its process.
const TABLE: &str = "/proc/thread-self/net/nf_conntrack";
/// Messages in one datagram.
const BATCH: usize = 256;

// From linux/netfilter/nfnetlink_conntrack.h.
const IPCTNL_MSG_CT_DELETE: u16 = 1 << 8 | 2;
const NLM_F_REQUEST: u16 = 1;
const NESTED: u16 = 1 << 15;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const IPPROTO_TCP: u8 = 6;

/// A TCP connection that is translated to an instance on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) client: SocketAddr,
    /// What the client asked for.
    pub(super) service: SocketAddr,
    /// Port of the instance that answers.
    pub(super) instance: u16,
}

/// The connections that are translated to one of these ports. Where the kernel does not list connections
/// (`CONFIG_NF_CONNTRACK_PROCFS`), none.
pub(super) fn translated(family: Family, instances: &BTreeSet<u16>) -> Vec<Flow> {
    parse(&fs::read_to_string(TABLE).unwrap_or_default(), family, instances)
}

fn parse(text: &str, family: Family, instances: &BTreeSet<u16>) -> Vec<Flow> {
    let family = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if words.first() != Some(&family) || words.get(2) != Some(&"tcp") {
            return None;
        }
        // Each key stands there twice: as the client asked, and as the instance answers.
        let both = |key: &str| {
            let mut values = words.iter().filter_map(|word| word.strip_prefix(key));
            Some((values.next()?, values.next()?))
        };
        let (from, answers) = (both("src=")?, both("sport=")?);
        let (to, asked) = (both("dst=")?, both("dport=")?);
        let place = |address: &str, port: &str| {
            Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, port.parse().ok()?))
        };
        let (client, service) = (place(from.0, answers.0)?, place(to.0, asked.0)?);
        let instance = place(from.1, answers.1)?;
        let is_ours = service != instance && instances.contains(&instance.port());
        is_ours.then_some(Flow { client, service, instance: instance.port() })
    };
    text.lines().filter_map(of_line).collect()
}

/// Has the kernel forget connections.
pub(super) fn forget(flows: &[Flow]) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    for batch in flows.chunks(BATCH) {
        let messages: Vec<u8> = batch.iter().flat_map(delete).collect();
        socket.send_to(&messages, &NetlinkAddr::new(0, 0), 0)?;
    }
    Ok(())
}

/// The message that takes one connection out.
fn delete(flow: &Flow) -> Vec<u8> {
    let (family, (source, destination)) = match (flow.client.ip(), flow.service.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (2, (attribute(1, &from.octets()), attribute(2, &to.octets()))),
        // A connection has one family; the kernel would refuse anything else.
        (from, to) => (10, (attribute(3, &v6(from)), attribute(4, &v6(to)))),
    };
    let addresses = [source, destination].concat();
    let protocol = [
        attribute(CTA_PROTO_NUM, &[IPPROTO_TCP]),
        attribute(CTA_PROTO_SRC_PORT, &flow.client.port().to_be_bytes()),
        attribute(CTA_PROTO_DST_PORT, &flow.service.port().to_be_bytes()),
    ]
    .concat();
    let tuple =
        [attribute(CTA_TUPLE_IP | NESTED, &addresses), attribute(CTA_TUPLE_PROTO | NESTED, &protocol)]
            .concat();
    // struct nfgenmsg: family, version 0, resource 0.
    let body = [vec![family, 0, 0, 0], attribute(CTA_TUPLE_ORIG | NESTED, &tuple)].concat();

    let length = u32::try_from(16 + body.len()).unwrap_or_default();
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(IPCTNL_MSG_CT_DELETE.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence and port.
    message.extend([0; 8]);
    message.extend(body);
    message
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

    use super::{Flow, delete, parse};
    use crate::engine::iptables::family::Family;

    const TRACKED: &str = "\
ipv4     2 tcp      6 431999 ESTABLISHED src=10.1.0.2 dst=10.1.0.1 sport=40000 dport=80 src=10.1.0.1 dst=10.1.0.2 sport=8001 dport=40000 [ASSURED] mark=0 zone=0 use=2
ipv4     2 tcp      6 59 SYN_SENT src=10.1.0.2 dst=10.1.0.1 sport=40001 dport=80 [UNREPLIED] src=10.1.0.1 dst=10.1.0.2 sport=8002 dport=40001 mark=0 zone=0 use=2
ipv4     2 tcp      6 431999 ESTABLISHED src=10.1.0.2 dst=10.1.0.1 sport=40003 dport=8001 src=10.1.0.1 dst=10.1.0.2 sport=8001 dport=40003 [ASSURED] mark=0 zone=0 use=2
ipv6     10 tcp      6 9 CLOSE_WAIT src=fd01::2 dst=fd01::1 sport=40004 dport=80 src=fd01::1 dst=fd01::2 sport=8001 dport=40004 [ASSURED] mark=0 zone=0 use=2
ipv4     2 udp      17 29 src=10.1.0.2 dst=10.1.0.1 sport=5353 dport=53 src=10.1.0.1 dst=10.1.0.2 sport=8001 dport=5353 mark=0 zone=0 use=2
";

    fn flow(client: &str, service: &str) -> Flow {
        Flow { client: client.parse().unwrap(), service: service.parse().unwrap(), instance: 8001 }
    }

    #[test]
    fn only_connections_that_were_translated_to_an_instance_are_listed() {
        let instances = [8001].into();
        assert_eq!(parse(TRACKED, Family::V4, &instances), [flow("10.1.0.2:40000", "10.1.0.1:80")]);
        assert_eq!(parse(TRACKED, Family::V6, &instances), [flow("[fd01::2]:40004", "[fd01::1]:80")]);
    }

    #[test]
    fn messages_end_where_they_say() {
        for flow in [flow("10.1.0.2:40000", "10.1.0.1:80"), flow("[fd01::2]:40004", "[fd01::1]:80")] {
            let message = delete(&flow);
            assert_eq!(message[..4], u32::try_from(message.len()).unwrap().to_ne_bytes());
            assert_eq!(message.len() % 4, 0);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ipv46 tcpsdor=:.0-9\\n]*") {
            parse(&text, Family::V4, &[8].into());
        }
    }
}
