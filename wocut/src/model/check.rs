//! A health check, as a file describes it.

use std::{fmt, num::NonZeroU8, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ParseError, serde_as_text};

/// How an instance shows that it is up, and how often it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Check {
    /// What is asked.
    #[serde(flatten)]
    pub kind: CheckKind,
    /// From one check to the next.
    pub interval: Period,
    /// How long an answer may take: the interval at most.
    pub timeout: Period,
    /// So many good answers in a row, and it is up.
    pub rise: NonZeroU8,
    /// So many bad ones, and it is down.
    pub fall: NonZeroU8,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum CheckKind {
    /// Whether it takes a connection.
    Tcp,
    /// Whether it answers a GET with 200 to 399.
    Http {
        /// What is got.
        path: HttpPath,
    },
}

impl CheckKind {
    /// The words of `type`.
    pub const TYPES: [&str; 2] = ["tcp", "http"];
}

impl Check {
    /// The usual times and counts.
    pub fn of(kind: CheckKind) -> Self {
        let (rise, fall) = (NonZeroU8::MIN.saturating_add(1), NonZeroU8::MIN.saturating_add(2));
        let [interval, timeout] = [2, 1].map(|seconds| Period(Duration::from_secs(seconds)));
        Self { kind, interval, timeout, rise, fall }
    }

    /// The same, if an answer may not take longer than the interval.
    pub fn sound(self) -> Result<Self, ParseError> {
        if self.timeout > self.interval {
            let why = format!("the next check begins after {}", self.interval);
            return Err(ParseError::new(&self.timeout.to_string(), "a timeout", why));
        }
        Ok(self)
    }
}

/// A check in a state file.
#[derive(Deserialize)]
struct Unchecked {
    #[serde(flatten)]
    kind: CheckKind,
    interval: Period,
    timeout: Period,
    rise: NonZeroU8,
    fall: NonZeroU8,
}

impl TryFrom<Unchecked> for Check {
    type Error = ParseError;

    fn try_from(check: Unchecked) -> Result<Self, ParseError> {
        let Unchecked { kind, interval, timeout, rise, fall } = check;
        Self { kind, interval, timeout, rise, fall }.sound()
    }
}

/// A time between 10 ms and an hour, as in `2s` or `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    const LEAST: Duration = Duration::from_millis(10);
    const MOST: Duration = Duration::from_hours(1);

    /// As a duration.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let period = humantime::parse_duration(text).ok();
        let within = period.filter(|period| (Self::LEAST..=Self::MOST).contains(period));
        within
            .map(Self)
            .ok_or_else(|| ParseError::new(text, "a time", "it is 10ms to 1h, as in `2s` or `500ms`"))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

serde_as_text!(Period);

/// A path of an HTTP request: `/` and up to 1,023 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPath(String);

impl HttpPath {
    const MAX: usize = 1024;

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for HttpPath {
    fn default() -> Self {
        Self("/".into())
    }
}

impl FromStr for HttpPath {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let visible = text.len() <= Self::MAX && text.bytes().all(|b| b.is_ascii_graphic());
        if !visible || !text.starts_with('/') {
            let why = "it begins with `/`, and has at most 1024 visible ASCII characters";
            return Err(ParseError::new(text, "a path", why));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for HttpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(HttpPath);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Check, CheckKind, HttpPath, Period};

    #[test]
    fn check_survives_the_state_file() {
        for kind in [CheckKind::Tcp, CheckKind::Http { path: "/healthz?a=\"b\"".parse().unwrap() }] {
            let check = Check::of(kind);
            let text = serde_json::to_string(&check).unwrap();
            assert_eq!(serde_json::from_str::<Check>(&text).unwrap(), check, "{text}");
        }
    }

    #[test]
    fn answer_may_not_take_longer_than_the_interval() {
        let check = Check { timeout: "3s".parse().unwrap(), ..Check::of(CheckKind::Tcp) };
        let text = serde_json::to_string(&check).unwrap();
        assert!(serde_json::from_str::<Check>(&text).unwrap_err().to_string().contains("after 2s"));
    }

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        for bad in ["", "2", "-1s", "9ms", "61m", "1month", "1s1", "99999999999999999999s"] {
            assert!(bad.parse::<Period>().unwrap_err().to_string().contains("10ms to 1h"), "{bad}");
        }
        for bad in ["", "healthz", "/a b", "/\r\nHost: x", "/ä", &format!("/{}", "x".repeat(1024))] {
            assert!(bad.parse::<HttpPath>().unwrap_err().to_string().contains("begins with"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|[0-9]{1,30}(ns|us|ms|s|m|h|d|y) ?[0-9a-z]*") {
            if let Ok(period) = text.parse::<Period>() {
                prop_assert_eq!(period.to_string().parse(), Ok(period));
            }
            if let Ok(path) = text.parse::<HttpPath>() {
                prop_assert_eq!(path.as_str(), text);
            }
        }
    }
}
