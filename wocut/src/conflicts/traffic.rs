//! What a rule looks at, and whether the traffic of a service is that. Pure.

use std::net::IpAddr;

use crate::model::{Listen, Protocol};

/// New connections to one place, or to several ports of it, in one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) protocol: Protocol,
    /// The ports that clients ask for.
    pub(super) ports: Vec<u16>,
    /// IPv6, not IPv4.
    pub(super) ipv6: bool,
    /// The addresses of this host at which it comes in.
    pub(super) addresses: Vec<IpAddr>,
    /// It comes in at every address of the family.
    pub(super) everywhere: bool,
}

impl Traffic {
    /// The traffic to a LISTEN, by family, on a host with these addresses.
    pub(super) fn to(listen: &Listen, host: &[IpAddr]) -> Vec<Self> {
        let of_family = |ipv6: bool| {
            let address = listen.addresses().find(|address| address.is_ipv6() == ipv6)?;
            let everywhere = address.is_unspecified();
            let own = host.iter().copied().filter(|own| own.is_ipv6() == ipv6);
            Some(Self {
                protocol: listen.protocol,
                ports: vec![listen.port],
                ipv6,
                addresses: if everywhere { own.collect() } else { vec![address] },
                everywhere,
            })
        };
        [false, true].into_iter().filter_map(of_family).collect()
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Net {
    address: IpAddr,
    bits: u8,
}

impl Net {
    /// `ADDR[/BITS]` or `ADDR/MASK`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().ok()?;
        let whole = if address.is_ipv6() { 128 } else { 32 };
        let bits = match length {
            None => whole,
            Some(length) => length.parse().ok().or_else(|| mask_length(length.parse().ok()?))?,
        };
        (bits <= whole).then_some(Self { address, bits })
    }

    fn contains(self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
            IpAddr::V6(v6) => u128::from(v6),
        };
        let shift = 128 - u32::from(self.bits);
        let head = |address| bits(address).checked_shr(shift).unwrap_or(0);
        address.is_ipv6() == self.address.is_ipv6() && head(address) == head(self.address)
    }
}

fn mask_length(mask: IpAddr) -> Option<u8> {
    let ones = match mask {
        IpAddr::V4(v4) => u32::from(v4).leading_ones(),
        IpAddr::V6(v6) => u128::from(v6).leading_ones(),
    };
    u8::try_from(ones).ok()
}

/// One thing that a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// The transport, by its name or number.
    Protocol(Vec<String>),
    /// The port that the client asks for: ranges.
    Port(Vec<(u16, u16)>),
    /// The address that the client asks for.
    Destination(Vec<Net>),
    /// What kind of address that is; of this host or not.
    Local(bool),
    /// The address family.
    Ipv6(bool),
    /// Where the client is.
    Source,
    /// Bits of the packet's mark.
    Mark(u32),
    /// Anything else, such as the interface.
    Other,
    /// The opposite.
    Not(Box<Self>),
    /// One of these, of which each is all of several.
    Any(Vec<Vec<Self>>),
}

/// Whether traffic meets a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meets {
    Never,
    /// Some of it does, or may.
    Partly,
    Always,
}

impl Condition {
    pub(super) fn met_by(&self, traffic: &Traffic) -> Meets {
        let certain = |yes: bool| if yes { Meets::Always } else { Meets::Never };
        match self {
            Self::Protocol(names) => certain(names.iter().any(|name| is_protocol(name, traffic.protocol))),
            Self::Port(ranges) => {
                let inside = |port: &&u16| ranges.iter().any(|(first, last)| (first..=last).contains(port));
                match traffic.ports.iter().filter(inside).count() {
                    0 => Meets::Never,
                    hits if hits == traffic.ports.len() => Meets::Always,
                    _ => Meets::Partly,
                }
            }
            Self::Destination(nets) => destination(nets, traffic),
            Self::Local(local) => certain(*local),
            Self::Ipv6(ipv6) => certain(*ipv6 == traffic.ipv6),
            Self::Source | Self::Mark(_) | Self::Other => Meets::Partly,
            Self::Not(condition) => match condition.met_by(traffic) {
                Meets::Never => Meets::Always,
                Meets::Partly => Meets::Partly,
                Meets::Always => Meets::Never,
            },
            Self::Any(choices) => {
                choices.iter().map(|all| all_met(all, traffic)).max().unwrap_or(Meets::Never)
            }
        }
    }

    /// Whether it names ports.
    pub(super) fn names_port(&self) -> bool {
        match self {
            Self::Port(_) => true,
            Self::Any(choices) => choices.iter().flatten().any(Self::names_port),
            _ => false,
        }
    }

    /// The bits of the mark that it looks at.
    pub(super) fn mark_bits(&self) -> u32 {
        match self {
            Self::Mark(bits) => *bits,
            Self::Not(condition) => condition.mark_bits(),
            Self::Any(choices) => choices.iter().flatten().fold(0, |bits, one| bits | one.mark_bits()),
            _ => 0,
        }
    }
}

/// Whether traffic meets all of them.
pub(super) fn all_met(conditions: &[Condition], traffic: &Traffic) -> Meets {
    conditions.iter().map(|condition| condition.met_by(traffic)).min().unwrap_or(Meets::Always)
}

fn is_protocol(name: &str, protocol: Protocol) -> bool {
    let number = match protocol {
        Protocol::Tcp => "6",
        Protocol::Udp => "17",
    };
    name == number || name == protocol.to_string() || ["all", "0"].contains(&name)
}

fn destination(nets: &[Net], traffic: &Traffic) -> Meets {
    let inside = |address: &IpAddr| nets.iter().any(|net| net.contains(*address));
    let hits = traffic.addresses.iter().filter(|address| inside(address)).count();
    // All of 127.0.0.0/8 is this host, though only one address of it is listed.
    let loopback = traffic.everywhere && nets.iter().any(|net| net.address.is_loopback());
    match hits {
        0 if loopback => Meets::Partly,
        0 => Meets::Never,
        _ if hits == traffic.addresses.len()
            && (!traffic.everywhere || nets.iter().any(|net| net.bits == 0)) =>
        {
            Meets::Always
        }
        _ => Meets::Partly,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Condition, Meets, Net, Traffic};

    fn traffic(listen: &str) -> Traffic {
        let host = ["127.0.0.1", "10.1.0.1", "::1"].map(|address| address.parse().unwrap());
        Traffic::to(&listen.parse().unwrap(), &host).remove(0)
    }

    fn to(nets: &[&str]) -> Condition {
        Condition::Destination(nets.iter().map(|net| Net::parse(net).unwrap()).collect())
    }

    #[test]
    fn traffic_to_any_address_comes_in_both_families() {
        let host = ["10.1.0.1".parse().unwrap()];
        let all = Traffic::to(&"80/tcp".parse().unwrap(), &host);
        assert_eq!(
            all.iter().map(|one| (one.ipv6, one.addresses.len())).collect::<Vec<_>>(),
            [(false, 1), (true, 0)]
        );
        assert_eq!(Traffic::to(&"[::1]:80/tcp".parse().unwrap(), &host).len(), 1);
    }

    #[test]
    fn addresses_of_others_are_not_met() {
        let (any, one) = (traffic("80/tcp"), traffic("10.1.0.1:80/tcp"));
        assert_eq!(to(&["10.96.0.10"]).met_by(&any), Meets::Never);
        assert_eq!(to(&["10.1.0.0/16"]).met_by(&any), Meets::Partly);
        assert_eq!(to(&["127.0.0.11"]).met_by(&any), Meets::Partly);
        assert_eq!(to(&["127.0.0.11"]).met_by(&one), Meets::Never);
        assert_eq!(to(&["10.1.0.0/255.255.0.0"]).met_by(&one), Meets::Always);
        assert_eq!(to(&["0.0.0.0/0"]).met_by(&any), Meets::Always);
        assert_eq!(Condition::Not(Box::new(to(&["127.0.0.0/8"]))).met_by(&any), Meets::Partly);
    }

    #[test]
    fn protocol_and_port_are_looked_at() {
        let web = traffic("80/tcp");
        assert_eq!(Condition::Protocol(vec!["udp".into()]).met_by(&web), Meets::Never);
        assert_eq!(Condition::Protocol(vec!["6".into()]).met_by(&web), Meets::Always);
        assert_eq!(Condition::Port(vec![(22, 22), (79, 81)]).met_by(&web), Meets::Always);
        let both = vec![Condition::Protocol(vec!["tcp".into()]), Condition::Port(vec![(443, 443)])];
        assert_eq!(Condition::Any(vec![both, vec![Condition::Other]]).met_by(&web), Meets::Partly);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-f:./]{0,30}") {
            if let Some(net) = Net::parse(&text) {
                net.contains(net.address);
            }
        }
    }
}
