//! What a user asks for, as types. Text becomes one of these at the edge, and nothing checks it again.

mod check;
mod definition;
mod instance;
mod listen;
mod name;
mod options;
mod process;
mod service;

pub use check::{
    Check, CheckKind, CheckOverride, HttpHost, HttpMethod, HttpPath, HttpRequest, Pattern, Payload, Period,
    Program, Statuses, Step, Steps, Tls, TlsName, Unsound,
};
pub use definition::{Definition, Description, Member};
pub use instance::{Admin, Health, Instance, InstanceSpec, Weight};
pub use listen::{Listen, Protocol};
pub use name::Name;
pub use options::{HookChoice, OnEmpty, Options, Policy, StickyPrefix};
pub use process::{Claim, ProcessId};
pub use service::{EngineChoice, EngineKind, Service, Wanted};

/// A text that is not what it should be, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {why}")]
pub struct ParseError {
    text: String,
    what: &'static str,
    why: String,
}

impl ParseError {
    pub(crate) fn new(text: &str, what: &'static str, why: impl Into<String>) -> Self {
        // An error is for reading: a hostile text is cut, and its control characters are shown as escapes.
        let text = text.chars().take(80).flat_map(char::escape_default).collect();
        Self { text, what, why: why.into() }
    }
}

/// A port: 1 to 65535.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse::<u16>().ok().filter(|port| digits && *port != 0);
    port.ok_or_else(|| "a port is a number from 1 to 65535".into())
}

/// Splits `[ADDR:]PORT`; an IPv6 address stands in brackets.
fn endpoint(text: &str) -> Result<(Option<std::net::IpAddr>, u16), String> {
    let Some((address, digits)) = text.rsplit_once(':') else {
        return Ok((None, port(text)?));
    };
    let bracketed = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let parsed = match bracketed {
        Some(v6) => v6.parse().map(std::net::IpAddr::V6).ok(),
        None => address.parse().map(std::net::IpAddr::V4).ok(),
    };
    match parsed {
        // An IPv4 address mapped into IPv6 is met as IPv4.
        Some(address) => Ok((Some(address.to_canonical()), port(digits)?)),
        None => Err("the address before the port is neither IPv4 nor IPv6 in brackets".into()),
    }
}

/// Shows `[ADDR:]PORT`.
fn write_endpoint(
    f: &mut std::fmt::Formatter<'_>,
    address: Option<std::net::IpAddr>,
    port: u16,
) -> std::fmt::Result {
    match address {
        Some(address) => std::fmt::Display::fmt(&std::net::SocketAddr::new(address, port), f),
        None => write!(f, "{port}"),
    }
}

/// Serialises a type as its text.
macro_rules! serde_as_text {
    ($($name:ty)*) => {
        $(
            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                }
            }
        )*
    };
}
use serde_as_text;
