//! What the kernel's routing netlink says of this network namespace.

use std::{io, net::IpAddr};

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};

use super::netlink::{self, AF_INET, AF_INET6, attribute, number, text};

// From linux/rtnetlink.h, linux/if_addr.h, linux/if_link.h, linux/fib_rules.h, linux/pkt_cls.h, linux/pkt_sched.h and
// linux/netfilter/nf_tables.h.
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETRULE: u16 = 34;
const RTM_GETTFILTER: u16 = 46;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
const CLSACT: u32 = 0xffff_0000;
const NFT_GETTABLE: u16 = 10 << 8 | 1;
const NFT_GETCHAIN: u16 = 10 << 8 | 4;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TYPE: u16 = 7;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
}

/// All interfaces.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut found = Vec::new();
    netlink::dump(NETLINK_ROUTE, RTM_GETLINK, &[0; 16], |body| {
        let interface = || {
            let index = number(body.get(4..8)?)?;
            Some(Interface { index, name: text(attribute(body.get(16..)?, IFLA_IFNAME)?) })
        };
        found.extend(interface());
    })?;
    Ok(found)
}

/// All addresses of this host.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    netlink::dump(NETLINK_ROUTE, RTM_GETADDR, &[0; 8], |body| {
        let attributes = body.get(8..).unwrap_or_default();
        // With a peer, IFA_ADDRESS is the peer's.
        let own = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS));
        found.extend(own.and_then(address));
    })?;
    Ok(found)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// A rule of the routing policy that looks at the packet's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// IPv6, not IPv4.
    pub ipv6: bool,
    /// Its number: lower ones go first.
    pub priority: u32,
    /// The mark that it looks for.
    pub mark: u32,
    /// The bits that it looks at.
    pub mask: u32,
    /// The table that it leads to.
    pub table: u32,
}

/// All of them (`ip rule`).
pub fn mark_rules() -> io::Result<Vec<MarkRule>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut request = [0; 12];
        request[0] = family;
        let result = netlink::dump(NETLINK_ROUTE, RTM_GETRULE, &request, |body| {
            found.extend(mark_rule(family == AF_INET6, body));
        });
        // A kernel without IPv6 has no rules there.
        if family == AF_INET {
            result?;
        }
    }
    Ok(found)
}

fn mark_rule(ipv6: bool, body: &[u8]) -> Option<MarkRule> {
    let attributes = body.get(12..)?;
    let value = |kind| attribute(attributes, kind).and_then(number);
    let mark = value(FRA_FWMARK).unwrap_or(0);
    // A mask of 0 looks at nothing.
    let mask = value(FRA_FWMASK).unwrap_or(if mark == 0 { 0 } else { u32::MAX });
    (mask != 0).then(|| MarkRule {
        ipv6,
        priority: value(FRA_PRIORITY).unwrap_or(0),
        mark,
        mask,
        table: value(FRA_TABLE).unwrap_or(u32::from(body[4])),
    })
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into the host.
    Ingress,
    /// Out of it.
    Egress,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// A filter of traffic control, of the kind that was before tcx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// `bpf`, `flower`, `u32`…
    pub kind: String,
    /// The name of a `bpf` one.
    pub name: Option<String>,
    /// The number of its program, if it has one.
    pub program: Option<u32>,
}

/// The filters of an interface (`tc filter show`).
pub fn filters(interface: u32, direction: Direction) -> io::Result<Vec<Filter>> {
    let minor = match direction {
        Direction::Ingress => 0xfff2,
        Direction::Egress => 0xfff3,
    };
    // struct tcmsg: family and padding, interface, handle, parent, info.
    let request: Vec<u8> =
        [0, interface, 0, CLSACT | minor, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    let mut found = Vec::new();
    netlink::dump(NETLINK_ROUTE, RTM_GETTFILTER, &request, |body| found.extend(filter(body)))?;
    Ok(found)
}

fn filter(body: &[u8]) -> Option<Filter> {
    let handle = number(body.get(8..12)?)?;
    let attributes = body.get(20..)?;
    let options = attribute(attributes, TCA_OPTIONS).unwrap_or_default();
    // The kernel also lists each list of filters by itself, without a handle.
    (handle != 0).then_some(())?;
    Some(Filter {
        kind: text(attribute(attributes, TCA_KIND)?),
        name: attribute(options, TCA_BPF_NAME).map(text),
        program: attribute(options, TCA_BPF_ID).and_then(number),
    })
}

/// A table of nftables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `NFPROTO_…`.
    pub family: u8,
    /// Its name.
    pub name: String,
}

impl Table {
    /// Whether iptables could have made it.
    pub fn is_named_as_by_iptables(&self) -> bool {
        [AF_INET, AF_INET6].contains(&self.family)
            && ["filter", "nat", "mangle", "raw", "security"].contains(&self.name.as_str())
    }
}

/// All tables of nftables, whoever made them.
pub fn nft_tables() -> io::Result<Vec<Table>> {
    let mut found = Vec::new();
    netlink::dump(NETLINK_NETFILTER, NFT_GETTABLE, &[0; 4], |body| {
        let name = body.get(4..).and_then(|attributes| attribute(attributes, NFTA_TABLE_NAME));
        found.extend(name.map(|name| Table { family: body[0], name: text(name) }));
    })?;
    Ok(found)
}

/// Whether connections are translated in this namespace: whoever wants to know of the listener that a packet was given
/// to before, is out of luck there.
pub fn has_nat() -> bool {
    let legacy = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
    let has_table = |path: &&str| {
        std::fs::read_to_string(path).is_ok_and(|tables| tables.lines().any(|table| table == "nat"))
    };
    let mut nft = false;
    // A kernel without nftables has no chains.
    let _none = netlink::dump(NETLINK_NETFILTER, NFT_GETCHAIN, &[0; 4], |body| {
        let kind = body.get(4..).and_then(|attributes| attribute(attributes, NFTA_CHAIN_TYPE));
        nft |= kind.is_some_and(|kind| text(kind) == "nat");
    });
    nft || legacy.iter().any(has_table)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{address, filter, interfaces, mark_rule};

    #[test]
    fn every_namespace_has_lo() {
        assert!(interfaces().unwrap().iter().any(|interface| interface.name == "lo"));
    }

    #[test]
    fn a_rule_with_a_mark_looks_at_all_bits_unless_it_says_which() {
        let attribute = |kind: u16, value: u32| {
            [&8u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &value.to_ne_bytes()].concat()
        };
        let body = [&[0; 12][..], &attribute(10, 0xca6c), &attribute(15, 51820)].concat();
        let rule = mark_rule(false, &body).unwrap();
        assert_eq!((rule.mark, rule.mask, rule.table), (0xca6c, u32::MAX, 51820));
        assert!(mark_rule(false, &[0; 12]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            address(&bytes);
            filter(&bytes);
            mark_rule(true, &bytes);
        }
    }
}
