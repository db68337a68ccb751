//! A health check, as a file describes it.
//!
//! [`Check`] says when and how often, [`CheckKind`] what is asked; `http`, `steps`, `tls` and `program` are its parts,
//! and `pattern` what an answer has to be like. `instead` is what an instance has in its service's place.

mod brief;
mod http;
mod instead;
mod pattern;
mod period;
mod program;
mod steps;
mod tls;
mod url;

use std::{
    net::IpAddr,
    num::{NonZeroU8, NonZeroU16},
};

use serde::{Deserialize, Serialize};

pub use self::{
    http::{HttpHost, HttpMethod, HttpPath, HttpRequest, Statuses},
    instead::CheckOverride,
    pattern::Pattern,
    period::Period,
    program::Program,
    steps::{Payload, Step, Steps},
    tls::{Tls, TlsName},
};
use super::{Health, ParseError};

/// How an instance shows that it is up, and how often it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Check {
    /// What is asked.
    #[serde(flatten)]
    pub kind: CheckKind,
    /// Who is asked. None: the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Where. None: on the instance's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// From one check to the next.
    pub interval: Period,
    /// The same while its state may be about to change: the interval at most. None: as ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fast_interval: Option<Period>,
    /// How long an answer may take: the interval at most.
    pub timeout: Period,
    /// So many good answers in a row, and it is up.
    pub rise: NonZeroU8,
    /// So many bad ones, and it is down.
    pub fall: NonZeroU8,
    /// What is held of one that was never asked.
    pub initial: Health,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum CheckKind {
    /// Whether it takes a connection.
    Tcp,
    /// Whether it answers a request.
    Http(HttpRequest),
    /// The same under TLS.
    Https {
        /// What is asked.
        #[serde(flatten)]
        request: HttpRequest,
        /// Who it has to be.
        #[serde(flatten)]
        tls: Tls,
    },
    /// Whether it says what it should, on a connection.
    SendExpect {
        /// What is said and heard.
        steps: Steps,
        /// Under TLS, if at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<Tls>,
    },
    /// Whether it says what it should in datagrams, or at least has a socket for them.
    Udp {
        /// What is said and heard. The first word is ours.
        steps: Steps,
    },
    /// Whether a program ends with 0.
    Exec {
        /// What is run.
        command: Program,
    },
}

impl CheckKind {
    /// The words of `type`.
    pub const TYPES: [&str; 6] = ["tcp", "http", "https", "send-expect", "udp", "exec"];

    /// Whether a check of that `type` has that key.
    pub fn has_key(kind: &str, key: &str) -> bool {
        let own: &[&str] = match kind {
            "http" => &["path", "method", "host", "status", "body"],
            "https" => &["path", "method", "host", "status", "body", "verify", "server_name"],
            "send-expect" => &["steps", "tls", "verify", "server_name"],
            "udp" => &["steps"],
            "exec" => &["command"],
            _ => &[],
        };
        let of_all =
            ["type", "address", "port", "interval", "fast_interval", "timeout", "rise", "fall", "initial"];
        own.contains(&key) || of_all.contains(&key)
    }

    /// The word of `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http(_) => "http",
            Self::Https { .. } => "https",
            Self::SendExpect { .. } => "send-expect",
            Self::Udp { .. } => "udp",
            Self::Exec { .. } => "exec",
        }
    }
}

/// A check whose parts do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Unsound {
    /// The key of a file that is to blame.
    pub key: &'static str,
    error: ParseError,
}

impl Check {
    /// The usual times and counts.
    pub fn of(kind: CheckKind) -> Self {
        Self {
            kind,
            address: None,
            port: None,
            interval: Period::seconds(2),
            fast_interval: None,
            timeout: Period::seconds(1),
            rise: NonZeroU8::MIN.saturating_add(1),
            fall: NonZeroU8::MIN.saturating_add(2),
            initial: Health::Unknown,
        }
    }

    /// The same, if its parts go together.
    pub fn sound(self) -> Result<Self, Unsound> {
        let unsound =
            |key, text: &str, what, why: &str| Err(Unsound { key, error: ParseError::new(text, what, why) });
        if self.timeout > self.interval {
            let why = format!("the next check begins after {}", self.interval);
            return unsound("timeout", &self.timeout.to_string(), "a timeout", &why);
        }
        if let Some(fast) = self.fast_interval.filter(|fast| *fast > self.interval) {
            let why = format!("it is longer than the usual one, {}", self.interval);
            return unsound("fast_interval", &fast.to_string(), "a fast interval", &why);
        }
        match &self.kind {
            CheckKind::Http(request) | CheckKind::Https { request, .. } => {
                if let (Some(body), "HEAD") = (&request.body, request.method.as_method().as_str()) {
                    return unsound("body", &body.to_string(), "a body", "an answer to `HEAD` has none");
                }
            }
            CheckKind::Udp { steps } if !steps.begins_with_send() => {
                return unsound("steps", "expect", "a first step", "nobody knows of us before we send");
            }
            _ => {}
        }
        Ok(self)
    }
}

/// A check in a state file.
#[derive(Deserialize)]
struct Unchecked {
    #[serde(flatten)]
    kind: CheckKind,
    #[serde(default)]
    address: Option<IpAddr>,
    #[serde(default)]
    port: Option<NonZeroU16>,
    interval: Period,
    #[serde(default)]
    fast_interval: Option<Period>,
    timeout: Period,
    rise: NonZeroU8,
    fall: NonZeroU8,
    #[serde(default)]
    initial: Health,
}

impl TryFrom<Unchecked> for Check {
    type Error = Unsound;

    fn try_from(check: Unchecked) -> Result<Self, Unsound> {
        let Unchecked { kind, address, port, interval, fast_interval, timeout, rise, fall, initial } = check;
        Self { kind, address, port, interval, fast_interval, timeout, rise, fall, initial }.sound()
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, CheckKind, CheckOverride, HttpRequest, Step, Steps, Tls};
    use crate::model::Health;

    fn kinds() -> Vec<CheckKind> {
        let request = HttpRequest {
            method: "POST".parse().unwrap(),
            path: "/healthz?a='b'".parse().unwrap(),
            host: Some("a.example:8080".parse().unwrap()),
            status: "200 300-399".parse().unwrap(),
            body: Some("*\"ok\\*%0A".parse().unwrap()),
        };
        let tls = Tls { verify: false, server_name: Some("b.example".parse().unwrap()) };
        let steps: Steps =
            vec![Step::Send("%00ä".parse().unwrap()), Step::Expect("[%80-%FF]*".parse().unwrap())]
                .try_into()
                .unwrap();
        let command = vec!["/bin/true".to_owned(), "a b".into()].try_into().unwrap();
        vec![
            CheckKind::Tcp,
            CheckKind::Http(HttpRequest::default()),
            CheckKind::Https { request, tls: tls.clone() },
            CheckKind::SendExpect { steps: steps.clone(), tls: Some(tls) },
            CheckKind::SendExpect { steps: steps.clone(), tls: None },
            CheckKind::Udp { steps },
            CheckKind::Exec { command },
        ]
    }

    #[test]
    fn check_survives_the_state_file() {
        for kind in kinds() {
            let plain = Check::of(kind);
            let full = Check {
                address: Some("::1".parse().unwrap()),
                port: 8080.try_into().ok(),
                fast_interval: Some("100ms".parse().unwrap()),
                initial: Health::Down,
                ..plain.clone()
            };
            for check in [plain, full] {
                let text = serde_json::to_string(&check).unwrap();
                assert_eq!(serde_json::from_str::<Check>(&text).unwrap(), check, "{text}");
                let own = CheckOverride::Own(check.into());
                let text = serde_json::to_string(&own).unwrap();
                assert_eq!(serde_json::from_str::<CheckOverride>(&text).unwrap(), own, "{text}");
            }
        }
        let off = serde_json::to_string(&CheckOverride::Off).unwrap();
        assert_eq!((off.as_str(), serde_json::from_str(&off).unwrap()), ("false", CheckOverride::Off));
    }

    #[test]
    fn check_of_an_older_state_file_is_read() {
        let text = r#"{"type":"http","path":"/x","interval":"2s","timeout":"1s","rise":2,"fall":3}"#;
        let request = HttpRequest { path: "/x".parse().unwrap(), ..HttpRequest::default() };
        assert_eq!(serde_json::from_str::<Check>(text).unwrap(), Check::of(CheckKind::Http(request)));
    }

    #[test]
    fn every_type_is_named() {
        let mut named: Vec<&str> = kinds().iter().map(CheckKind::name).collect();
        named.dedup();
        assert_eq!(named, CheckKind::TYPES);
        for kind in kinds() {
            assert_eq!(serde_json::to_value(&kind).unwrap()["type"], kind.name());
        }
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused() {
        let usual = Check::of(CheckKind::Tcp);
        let head = HttpRequest {
            method: "HEAD".parse().unwrap(),
            body: Some("*".parse().unwrap()),
            ..HttpRequest::default()
        };
        let heard: Steps = vec![Step::Expect("*".parse().unwrap())].try_into().unwrap();
        let long = || "3s".parse().unwrap();
        for (check, key, why) in [
            (Check { timeout: long(), ..usual.clone() }, "timeout", "after 2s"),
            (Check { fast_interval: Some(long()), ..usual }, "fast_interval", "longer"),
            (Check::of(CheckKind::Http(head)), "body", "has none"),
            (Check::of(CheckKind::Udp { steps: heard }), "steps", "before we send"),
        ] {
            let text = serde_json::to_string(&check).unwrap();
            assert!(serde_json::from_str::<Check>(&text).unwrap_err().to_string().contains(why), "{why}");
            assert_eq!(check.sound().unwrap_err().key, key);
        }
    }
}
