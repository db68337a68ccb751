//! Which port an instance gets.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, ipproto, socket, sockopt::set_ipv6_v6only},
};

use crate::{
    error::Usage,
    model::{Listen, Name, ParseError, Protocol, Wanted},
};

/// Ports that instances are started on: `40400-40499`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRange(RangeInclusive<u16>);

impl Default for PortRange {
    fn default() -> Self {
        Self(40400..=40499)
    }
}

impl FromStr for PortRange {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| crate::model::port(text).map_err(|why| ParseError::new(text, "a port", why));
        let range = port(first)?..=port(last)?;
        if range.is_empty() {
            return Err(ParseError::new(text, "a range of ports", "the first one is not above the last"));
        }
        Ok(Self(range))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

impl PortRange {
    /// The first port that no instance has, nobody else starts one on, and nothing is bound to.
    pub fn free(&self, wanted: &Wanted, listen: &[Listen]) -> anyhow::Result<u16> {
        self.all_free(wanted, listen).next().unwrap_or_else(|| Err(NoPort(self.clone()).into()))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Fails where there are too few for so many instances, of which some may have one already: those of `name`.
    pub fn expect_room(
        &self,
        wanted: &Wanted,
        name: &Name,
        listen: &[Listen],
        workers: usize,
    ) -> anyhow::Result<()> {
        if self.count() < workers {
            let few = format!("{self} has {} ports, too few for {workers} workers", self.count());
            return Err(Usage(few).into());
        }
        let own = wanted.services.get(name).map_or(0, |service| service.instances.len());
        let missing = workers.saturating_sub(own);
        let free = self.all_free(wanted, listen).take(missing).collect::<anyhow::Result<Vec<_>>>()?.len();
        match free {
            0 if missing > 0 => Err(NoPort(self.clone()).into()),
            _ if free < missing => Err(FewPorts { range: self.clone(), free, missing }.into()),
            _ => Ok(()),
        }
    }

    fn all_free(&self, wanted: &Wanted, listen: &[Listen]) -> impl Iterator<Item = anyhow::Result<u16>> {
        let instances = wanted.services.values().flat_map(|service| &service.instances);
        let mut taken = wanted.kept_ports();
        taken.extend(listen.iter().map(|listen| listen.port));
        taken.extend(instances.map(|instance| instance.spec.port));
        let datagrams = listen.iter().any(|listen| listen.protocol == Protocol::Udp);
        self.0.clone().filter(move |port| !taken.contains(port)).filter_map(move |port| {
            is_free(port, datagrams).map(|free| free.then_some(port)).map_err(Into::into).transpose()
        })
    }
}

/// All of them are taken.
#[derive(Debug, thiserror::Error)]
#[error("no port of {0} is free for an instance")]
pub struct NoPort(PortRange);

/// Too many of them are.
#[derive(Debug, thiserror::Error)]
#[error("only {free} ports of {range} are free, for {missing} instances")]
pub struct FewPorts {
    range: PortRange,
    free: usize,
    missing: usize,
}

/// Whether a program could bind it, on every address and without `SO_REUSEADDR`.
fn is_free(port: u16, datagrams: bool) -> io::Result<bool> {
    let kinds = [(SocketType::STREAM, ipproto::TCP), (SocketType::DGRAM, ipproto::UDP)];
    for (kind, protocol) in kinds.into_iter().take(if datagrams { 2 } else { 1 }) {
        for address in [SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), (Ipv6Addr::UNSPECIFIED, port).into()]
        {
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = match socket(family, kind, Some(protocol)) {
                // A host without IPv6.
                Err(Errno::AFNOSUPPORT) => continue,
                other => other?,
            };
            if address.is_ipv6() {
                set_ipv6_v6only(&socket, true)?;
            }
            match bind(&socket, &address) {
                Ok(()) | Err(Errno::ADDRNOTAVAIL) => {}
                Err(Errno::ADDRINUSE | Errno::ACCESS) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::PortRange;
    use crate::error::exit_code;
    use crate::model::{Claim, ProcessId, Wanted};

    #[test]
    fn bad_range_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "1 to 65535"),
            ("40400-", "1 to 65535"),
            ("0-5", "1 to 65535"),
            ("9-8", "not above"),
            ("a-b", "1 to 65535"),
        ] {
            let error = text.parse::<PortRange>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!("40400-40499".parse::<PortRange>().unwrap(), PortRange::default());
        assert_eq!("8001".parse::<PortRange>().unwrap().to_string(), "8001-8001");
    }

    #[test]
    fn ports_that_are_too_few_are_told_before_any_is_taken() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let range: PortRange = port.to_string().parse().unwrap();
        let (wanted, listen) = (Wanted::empty(None), ["80/tcp".parse().unwrap()]);
        let room = |workers| {
            let room = range.expect_room(&wanted, &"web".parse().unwrap(), &listen, workers);
            room.map_err(|error| (exit_code(&error), error.to_string()))
        };
        let none = format!("no port of {port}-{port} is free for an instance");
        assert_eq!(room(1), Err((1, none)));
        drop(held);
        assert_eq!(room(1), Ok(()));
        let few = format!("{port}-{port} has 1 ports, too few for 2 workers");
        assert_eq!(room(2), Err((2, few)));
    }

    #[test]
    fn port_that_is_free_is_found() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let range: PortRange = port.to_string().parse().unwrap();
        let (mut wanted, listen) = (Wanted::empty(None), ["80/tcp".parse().unwrap()]);
        let error = range.free(&wanted, &listen).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()), "{error}");
        drop(held);
        assert_eq!(range.free(&wanted, &listen).unwrap(), port);
        assert!(range.free(&wanted, &[format!("{port}/tcp").parse().unwrap()]).is_err());
        wanted.claims.insert(port, Claim { by: ProcessId { pid: 1, started: 1 }, process: None });
        assert!(range.free(&wanted, &listen).is_err());
    }
}
