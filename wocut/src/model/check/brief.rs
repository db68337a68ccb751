//! A check in a word, for command lines: `tcp`, `http:/healthz`.

use std::str::FromStr;

use super::{Check, CheckKind, HttpRequest, Tls};
use crate::model::ParseError;

impl FromStr for Check {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (kind, path) = text.split_once(':').map_or((text, None), |(kind, path)| (kind, Some(path)));
        let request = || {
            let path = path.map(str::parse).transpose()?.unwrap_or_default();
            Ok::<_, ParseError>(HttpRequest { path, ..HttpRequest::default() })
        };
        Ok(Self::of(match (kind, path) {
            ("tcp", None) => CheckKind::Tcp,
            ("http", _) => CheckKind::Http(request()?),
            ("https", _) => CheckKind::Https { request: request()?, tls: Tls::default() },
            _ => {
                return Err(ParseError::new(text, "a check", "it is `tcp`, `http[:PATH]` or `https[:PATH]`"));
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Check, CheckKind};

    #[test]
    fn word_is_a_check() {
        let kind = |text: &str| text.parse::<Check>().unwrap().kind;
        assert_eq!(kind("tcp"), CheckKind::Tcp);
        let path = |kind| match kind {
            CheckKind::Http(request) | CheckKind::Https { request, .. } => request.path.to_string(),
            _ => String::new(),
        };
        assert_eq!(path(kind("http")), "/");
        assert_eq!(path(kind("http:/healthz?a=b")), "/healthz?a=b");
        assert_eq!(path(kind("https:/")), "/");
        for bad in ["", "tcp:", "tcp:80", "http:", "http:healthz", "exec:/bin/true", "udp"] {
            assert!(bad.parse::<Check>().is_err(), "{bad}");
        }
    }
}
