//! Who is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::{Check, InstanceSpec, Name};

/// Who is asked, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The instance that it is about.
    pub instance: Name,
    /// Where it is asked.
    pub address: IpAddr,
    /// Where it is asked.
    pub port: u16,
}

impl Target {
    /// Where a check asks for an instance: at the check's own address, else at the instance's, else where it was found
    /// to listen, else at 127.0.0.1.
    pub fn of(check: &Check, instance: &InstanceSpec, found: Option<IpAddr>) -> Self {
        let address = check.address.or(instance.address).or(found);
        let address = match address {
            // Who listens everywhere does so there.
            Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ipv6Addr::LOCALHOST.into(),
            None | Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.into(),
            Some(address) => address,
        };
        let port = check.port.map_or(instance.port, Into::into);
        Self { instance: instance.name.clone(), address, port }
    }

    pub(super) fn place(&self) -> SocketAddr {
        (self.address, self.port).into()
    }

    #[cfg(test)]
    pub(super) fn at(place: SocketAddr) -> Self {
        Self { instance: "a".parse().unwrap(), address: place.ip(), port: place.port() }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;
    use crate::model::{Check, CheckKind, InstanceSpec};

    #[test]
    fn what_is_said_more_exactly_goes_first() {
        let instance = |spec: &str| -> InstanceSpec { spec.parse().unwrap() };
        let usual = Check::of(CheckKind::Tcp);
        let own =
            Check { address: "10.0.0.9".parse().ok(), port: 9.try_into().ok(), ..Check::of(CheckKind::Tcp) };
        for (check, spec, found, expected) in [
            (&own, "a=10.0.0.1:8001", Some("10.0.0.2"), "10.0.0.9:9"),
            (&usual, "a=10.0.0.1:8001", Some("10.0.0.2"), "10.0.0.1:8001"),
            (&usual, "8001", Some("10.0.0.2"), "10.0.0.2:8001"),
            (&usual, "8001", Some("0.0.0.0"), "127.0.0.1:8001"),
            (&usual, "8001", Some("::"), "[::1]:8001"),
            (&usual, "8001", None, "127.0.0.1:8001"),
        ] {
            let found = found.map(|address| address.parse().unwrap());
            assert_eq!(Target::of(check, &instance(spec), found).place().to_string(), expected);
        }
    }
}
