//! Who an instance has to be before it is believed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::model::{ParseError, serde_as_text};

/// How a check speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// Whether the certificate has to be good: from a root that this host trusts, for the name, and in its time.
    pub verify: bool,
    /// The name that is asked for. None: the host of the request, or the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<TlsName>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { verify: true, server_name: None }
    }
}

/// A name that a certificate may have: of a host, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsName(ServerName<'static>);

impl TlsName {
    /// As a handshake wants it.
    pub fn as_server_name(&self) -> &ServerName<'static> {
        &self.0
    }
}

impl FromStr for TlsName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let name = ServerName::try_from(text).ok().filter(|name| name.to_str() == text);
        let why = "it is the name of a host, or an address";
        name.map(|name| Self(name.to_owned())).ok_or_else(|| ParseError::new(text, "a server's name", why))
    }
}

impl fmt::Display for TlsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_str())
    }
}

serde_as_text!(TlsName);

#[cfg(test)]
mod tests {
    use super::TlsName;

    #[test]
    fn only_names_that_a_certificate_may_have_are_taken() {
        for good in ["www.example.com", "localhost", "127.0.0.1", "::1"] {
            assert_eq!(good.parse::<TlsName>().unwrap().to_string(), good);
        }
        for bad in ["", "a b", "a..b", "*.example.com", "a:443", &"x".repeat(300)] {
            assert!(bad.parse::<TlsName>().unwrap_err().to_string().contains("name of a host"), "{bad}");
        }
    }
}
