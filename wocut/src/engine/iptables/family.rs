//! The two address families: each has tables, and tools, of its own.

use std::{fmt, net::IpAddr};

use crate::model::{Instance, Listen, Service};

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

    /// The LISTENs of a service that this family's tables serve.
    pub(super) fn listens(self, service: &Service) -> impl Iterator<Item = &Listen> {
        service.listen.iter().filter(move |listen| listen.address.is_none_or(|address| self.has(address)))
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
