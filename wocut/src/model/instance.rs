//! One daemon behind a service: `[NAME=][ADDR:]PORT[*WEIGHT]`.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{CheckOverride, Name, ParseError, ProcessId, endpoint, serde_as_text, write_endpoint};

/// Relative share of the new connections: 0 to 256. With 0 an instance gets none until its weight is another; it is not
/// drained, so that `ready` does not bring it back, and a file sets it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

impl Weight {
    /// The greatest weight, as HAProxy has it.
    pub const MAX: u16 = 256;

    /// The weight as a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<u16> for Weight {
    type Error = ParseError;

    fn try_from(weight: u16) -> Result<Self, ParseError> {
        weight.to_string().parse()
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl FromStr for Weight {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let weight = text.parse().ok().filter(|weight| digits && *weight <= Self::MAX);
        weight.map(Self).ok_or_else(|| {
            ParseError::new(text, "a weight", format!("a weight is a number from 0 to {}", Self::MAX))
        })
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the operator wants of an instance, with HAProxy's meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    /// Takes new connections.
    #[default]
    Ready,
    /// Takes no new connections, keeps the open ones.
    Drain,
    /// As drain, and is not checked.
    Maint,
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        })
    }
}

/// What checks say of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It answers.
    Up,
    /// It does not, and takes no new connections.
    Down,
    /// Nothing checks it.
    #[default]
    Unknown,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
        })
    }
}

/// An instance as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Given, or the port.
    pub name: Name,
    /// None: whatever address the daemon listens on.
    pub address: Option<IpAddr>,
    /// 1 to 65535.
    pub port: u16,
    /// 1 unless given.
    pub weight: Weight,
}

impl FromStr for InstanceSpec {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = |why: String| ParseError::new(text, "an INSTANCE", why);
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) => (Some(name), rest),
            None => (None, text),
        };
        let (place, weight) = match rest.split_once('*') {
            Some((place, weight)) => (place, weight.parse().map_err(|e: ParseError| error(e.why))?),
            None => (rest, Weight::default()),
        };
        let (address, port) = endpoint(place).map_err(error)?;
        if address.is_some_and(|address| address.is_unspecified()) {
            return Err(error("leave the address out to mean any".into()));
        }
        let name = name.map_or_else(|| port.to_string(), Into::into);
        let name = name.parse().map_err(|e: ParseError| error(e.why))?;
        Ok(Self { name, address, port, weight })
    }
}

impl fmt::Display for InstanceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.as_str() != self.port.to_string() {
            write!(f, "{}=", self.name)?;
        }
        write_endpoint(f, self.address, self.port)?;
        if self.weight != Weight::default() {
            write!(f, "*{}", self.weight)?;
        }
        Ok(())
    }
}

serde_as_text!(InstanceSpec);

/// An instance of a wanted service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Never used again in this namespace, so that counters of one are not another's. Not 0.
    pub id: u32,
    /// Name, place and weight.
    pub spec: InstanceSpec,
    /// What the operator wants of it.
    #[serde(default)]
    pub admin: Admin,
    /// What checks say of it.
    #[serde(default)]
    pub health: Health,
    /// Picks that had chosen it when the service's shares last changed.
    #[serde(default)]
    pub picked_before: u64,
    /// None: its service's check holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckOverride>,
    /// Whether it is for the time when no other one can take connections.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backup: bool,
    /// The part of its weight that it has, in percent: it came up a short while ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<u8>,
    /// What `run` or `cluster` started for it to be, and will end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// Its number among the workers of a cluster: clients that stick to one stay with the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
}

impl Instance {
    /// One of which nothing is known yet.
    pub fn new(id: u32, spec: InstanceSpec) -> Self {
        Self {
            id,
            spec,
            admin: Admin::default(),
            health: Health::default(),
            picked_before: 0,
            check: None,
            backup: false,
            throttle: None,
            process: None,
            worker: None,
        }
    }

    /// Whether it can take new connections, if it comes to that.
    pub fn is_eligible(&self) -> bool {
        self.admin == Admin::Ready && self.health != Health::Down && self.spec.weight.get() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::InstanceSpec;

    #[test]
    fn text_survives_a_round_trip() {
        for text in ["8001", "8002*3", "canary=127.0.0.1:8003", "a=[::1]:8004*0", "10.0.0.1:8005*256"] {
            assert_eq!(text.parse::<InstanceSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        for (text, why) in [
            ("0", "1 to 65535"),
            ("65536", "1 to 65535"),
            ("-1", "1 to 65535"),
            ("web", "1 to 65535"),
            ("8001*-1", "0 to 256"),
            ("8001*10000000", "0 to 256"),
            ("8001*", "0 to 256"),
            ("=8001", "1 to 22"),
            ("a b=8001", "letters"),
            ("0.0.0.0:8001", "leave the address out"),
        ] {
            let error = text.parse::<InstanceSpec>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
