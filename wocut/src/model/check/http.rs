//! A request, and which answers to it are good.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use hyper::{
    Method,
    header::HeaderValue,
    http::uri::{Authority, PathAndQuery},
};
use serde::{Deserialize, Serialize};

use super::Pattern;
use crate::model::{ParseError, serde_as_text};

/// What is asked, and which answers are good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpRequest {
    /// `GET` unless given.
    pub method: HttpMethod,
    /// `/` unless given.
    pub path: HttpPath,
    /// None: the address and port that are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HttpHost>,
    /// 200 to 399 unless given.
    pub status: Statuses,
    /// What the body is like, if it is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Pattern>,
}

/// A path of a request, with its query: it begins with `/` and has at most 1,024 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPath(PathAndQuery);

impl HttpPath {
    const MAX: usize = 1024;

    /// As it stands in a request.
    pub fn as_uri(&self) -> &PathAndQuery {
        &self.0
    }
}

impl Default for HttpPath {
    fn default() -> Self {
        Self(PathAndQuery::from_static("/"))
    }
}

impl FromStr for HttpPath {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fits = text.len() <= Self::MAX && text.starts_with('/') && text.is_ascii();
        // What comes after `#` would be cut off.
        let path = text.parse().ok().filter(|path: &PathAndQuery| fits && path.as_str() == text);
        let why = "it begins with `/`, and has at most 1024 characters, all of which a URL may have";
        path.map(Self).ok_or_else(|| ParseError::new(text, "a path", why))
    }
}

impl fmt::Display for HttpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str())
    }
}

/// What is done: 1 to 16 capital letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpMethod(Method);

impl HttpMethod {
    /// As it stands in a request.
    pub fn as_method(&self) -> &Method {
        &self.0
    }
}

impl FromStr for HttpMethod {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = |why| ParseError::new(text, "a method", why);
        let letters = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase());
        let method = text.parse().ok().filter(|_| letters);
        match method.ok_or_else(|| error("it has 1 to 16 capital letters, as in `GET`"))? {
            Method::CONNECT => Err(error("it asks for a tunnel")),
            method => Ok(Self(method)),
        }
    }
}

impl fmt::Display for HttpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str())
    }
}

/// The `Host` of a request: a name or an address, perhaps with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpHost {
    authority: Authority,
    value: HeaderValue,
}

impl HttpHost {
    const MAX: usize = 255;

    /// As it stands in a request.
    pub fn as_value(&self) -> &HeaderValue {
        &self.value
    }

    /// Without the port, and an IPv6 address without its brackets.
    pub fn name(&self) -> &str {
        self.authority.host().trim_matches(['[', ']'])
    }
}

impl FromStr for HttpHost {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fits = text.len() <= Self::MAX && !text.contains('@');
        let authority: Option<Authority> = text.parse().ok().filter(|_| fits);
        let both = authority.zip(text.parse().ok()).filter(|(authority, _)| !authority.host().is_empty());
        let why = "it is a name or an address, perhaps with a port, as in `www.example.com:8080`";
        let (authority, value) = both.ok_or_else(|| ParseError::new(text, "a host", why))?;
        Ok(Self { authority, value })
    }
}

impl fmt::Display for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.authority.as_str())
    }
}

/// Status codes that are good, as in `200-399` or `200 204`: 1 to 16 codes or ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

impl Statuses {
    const MAX: usize = 16;

    /// Whether a code is one of them.
    pub fn contains(&self, code: u16) -> bool {
        self.0.iter().any(|range| range.contains(&code))
    }

    /// Each a code or a range, as text.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|range| match (range.start(), range.end()) {
            (start, end) if start == end => start.to_string(),
            (start, end) => format!("{start}-{end}"),
        })
    }
}

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl FromStr for Statuses {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let range = |word: &str| -> Option<RangeInclusive<u16>> {
            let (start, end) = word.split_once('-').unwrap_or((word, word));
            let [start, end] = [start, end].map(|code| {
                let digits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
                code.parse().ok().filter(|code| digits && (100..=599).contains(code))
            });
            Some(start?..=end?).filter(|range| !range.is_empty())
        };
        let ranges: Option<Vec<_>> = text.split(' ').map(range).collect();
        let ranges = ranges.filter(|ranges| ranges.len() <= Self::MAX);
        let why = "it is up to 16 codes from 100 to 599 or ranges of them, as in `200-399`";
        ranges.map(Self).ok_or_else(|| ParseError::new(text, "a status", why))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.iter().collect::<Vec<_>>().join(" "))
    }
}

serde_as_text!(HttpPath HttpMethod HttpHost Statuses);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HttpHost, HttpMethod, HttpPath, Statuses};

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        let long = format!("/{}", "x".repeat(1024));
        for bad in ["", "healthz", "/a b", "/\r\nHost: x", "/ä", "/#a", &long] {
            assert!(bad.parse::<HttpPath>().unwrap_err().to_string().contains("begins with"), "{bad}");
        }
        for bad in ["", "get", "G T", "GET\r\n", "ABCDEFGHIJKLMNOPQ"] {
            assert!(bad.parse::<HttpMethod>().unwrap_err().to_string().contains("capital"), "{bad}");
        }
        assert!("CONNECT".parse::<HttpMethod>().unwrap_err().to_string().contains("tunnel"));
        for bad in ["", "a b", "a\r\nb: c", "me@example.com", "/a", ":80", &"x".repeat(256)] {
            assert!(bad.parse::<HttpHost>().unwrap_err().to_string().contains("a name or"), "{bad}");
        }
        for bad in ["", "20", "600", "300-200", "+20", "200  300", "200-", &"200 ".repeat(17)] {
            assert!(bad.parse::<Statuses>().unwrap_err().to_string().contains("up to 16"), "{bad}");
        }
    }

    #[test]
    fn host_is_known_without_its_port() {
        for (text, name) in [("a.example:80", "a.example"), ("[::1]:443", "::1"), ("10.0.0.1", "10.0.0.1")] {
            let host: HttpHost = text.parse().unwrap();
            assert_eq!((host.name(), host.as_value().to_str().unwrap()), (name, text));
        }
    }

    #[test]
    fn statuses_are_codes_and_ranges() {
        let statuses: Statuses = "200-299 404".parse().unwrap();
        let good: Vec<u16> =
            [199, 200, 299, 300, 404].into_iter().filter(|it| statuses.contains(*it)).collect();
        assert_eq!(good, [200, 299, 404]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|/[!-~]*|[0-9 -]*|[A-Z]{1,20}|[a-z\\[\\]:.@]*") {
            if let Ok(path) = text.parse::<HttpPath>() {
                prop_assert_eq!(path.to_string(), text.clone());
            }
            if let Ok(method) = text.parse::<HttpMethod>() {
                prop_assert_eq!(method.to_string(), text.clone());
            }
            if let Ok(host) = text.parse::<HttpHost>() {
                prop_assert_eq!(host.to_string(), text.clone());
            }
            if let Ok(statuses) = text.parse::<Statuses>() {
                prop_assert_eq!(statuses.to_string(), text);
            }
        }
    }
}
