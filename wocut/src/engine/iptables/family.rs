//! The two address families: each has tables, and tools, of its own.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    model::{Instance, Listen, Service, StickyPrefix},
    sys::listeners::Listener,
};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(super) fn restore(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        }
    }

    pub(super) fn save(self) -> &'static str {
        match self {
            Self::V4 => "iptables-save",
            Self::V6 => "ip6tables-save",
        }
    }

    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }

    /// The match on one destination address, with a blank behind it.
    pub(super) fn destination(self, address: IpAddr) -> String {
        let prefix = match self {
            Self::V4 => 32,
            Self::V6 => 128,
        };
        format!("-d {address}/{prefix} ")
    }

    /// A match on the source address for each bit of it that the prefix takes in, with the number of the bit.
    pub(super) fn source_bits(self, prefix: StickyPrefix) -> Vec<(u8, String)> {
        let (width, prefix) = match self {
            Self::V4 => (32, prefix.v4),
            Self::V6 => (128, prefix.v6),
        };
        let matching = |bit: u8| {
            let address: IpAddr = match self {
                Self::V4 => Ipv4Addr::from_bits(1 << bit).into(),
                Self::V6 => Ipv6Addr::from_bits(1 << bit).into(),
            };
            // The tools print a mask of leading bits as their number.
            if bit == width - 1 { format!("-s {address}/1") } else { format!("-s {address}/{address}") }
        };
        (width - prefix..width).map(|bit| (bit, matching(bit))).collect()
    }

    /// The LISTENs of a service that this family's tables serve.
    pub(super) fn listens(self, service: &Service) -> impl Iterator<Item = &Listen> {
        service.listen.iter().filter(move |listen| listen.address.is_none_or(|address| self.has(address)))
    }

    /// Whether a socket takes this family's connections to every address.
    pub(super) fn is_taken_by(self, listener: &Listener) -> bool {
        let both = listener.address.is_ipv6() && !listener.v6_only;
        listener.address.is_unspecified() && !listener.bound_to_device && (both || self.has(listener.address))
    }

    /// Whether this family's tables can lead to the instance.
    pub(super) fn reaches(self, instance: &Instance) -> bool {
        instance.spec.address.is_none_or(|address| self.has(address))
    }

    /// Whether the service names an address of this family, so that it cannot do without.
    pub(super) fn is_named_by(self, service: &Service) -> bool {
        let listens = service.listen.iter().filter_map(|listen| listen.address);
        let instances = service.instances.iter().filter_map(|instance| instance.spec.address);
        listens.chain(instances).any(|address| self.has(address))
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
