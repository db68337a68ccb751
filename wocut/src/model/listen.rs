//! What a service listens on: `[ADDR:]PORT/tcp|udp`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::{ParseError, endpoint, serde_as_text, write_endpoint};

/// The transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One place where a service takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    /// None: every address of both families. `0.0.0.0` and `::` are every address of one.
    pub address: Option<IpAddr>,
    /// 1 to 65535.
    pub port: u16,
    /// The transport.
    pub protocol: Protocol,
}

impl Listen {
    /// The addresses, one or two, under which the kernel's tables list it. An unspecified one is every address of
    /// its family.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let both = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let (one, two) = (self.address, both.into_iter().filter(move |_| self.address.is_none()));
        one.into_iter().chain(two)
    }

    /// Whether both claim the same place. An address and every address are two places: the address goes first.
    pub fn collides(self, other: Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && self.addresses().any(|mine| other.addresses().any(|theirs| mine == theirs))
    }
}

impl FromStr for Listen {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = |why: String| ParseError::new(text, "a LISTEN", why);
        let (place, protocol) =
            text.rsplit_once('/').ok_or_else(|| error("it wants a protocol, as in `80/tcp`".into()))?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(error("the protocol is neither tcp nor udp".into())),
        };
        let (address, port) = endpoint(place).map_err(error)?;
        Ok(Self { address, port, protocol })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_endpoint(f, self.address, self.port)?;
        write!(f, "/{}", self.protocol)
    }
}

serde_as_text!(Listen);

#[cfg(test)]
mod tests {
    use super::Listen;

    #[test]
    fn text_survives_a_round_trip() {
        for text in ["80/tcp", "192.0.2.1:53/udp", "[::1]:443/tcp", "0.0.0.0:80/tcp", "[::]:65535/tcp"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_address_and_every_address_are_two_places() {
        let collides = |a: &str, b: &str| a.parse::<Listen>().unwrap().collides(b.parse().unwrap());
        assert!(collides("80/tcp", "0.0.0.0:80/tcp"));
        assert!(collides("80/tcp", "[::]:80/tcp"));
        assert!(!collides("0.0.0.0:80/tcp", "[::]:80/tcp"));
        assert!(!collides("80/tcp", "127.0.0.1:80/tcp"));
        assert!(!collides("80/tcp", "80/udp"));
    }

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        for (text, why) in [
            ("80", "protocol"),
            ("80/sctp", "neither tcp nor udp"),
            ("0/tcp", "1 to 65535"),
            ("65536/tcp", "1 to 65535"),
            ("+80/tcp", "1 to 65535"),
            ("http/tcp", "1 to 65535"),
            ("::1:80/tcp", "brackets"),
            ("[1.2.3.4]:80/tcp", "brackets"),
            ("host:80/tcp", "neither IPv4"),
        ] {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
