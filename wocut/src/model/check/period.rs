//! A time that a file gives.

use std::{fmt, str::FromStr, time::Duration};

use crate::model::{ParseError, serde_as_text};

/// A time between 10 ms and an hour, as in `2s` or `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

impl Period {
    const LEAST: Duration = Duration::from_millis(10);
    const MOST: Duration = Duration::from_hours(1);

    /// Whole seconds, which are at most 255.
    pub(super) const fn seconds(seconds: u8) -> Self {
        // A `u64` is wanted, and `From` is not for constants.
        Self(Duration::from_secs(seconds as u64))
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Period;

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        for bad in ["", "2", "-1s", "9ms", "61m", "1month", "1s1", "99999999999999999999s"] {
            assert!(bad.parse::<Period>().unwrap_err().to_string().contains("10ms to 1h"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|[0-9]{1,30}(ns|us|ms|s|m|h|d|y) ?[0-9a-z]*") {
            if let Ok(period) = text.parse::<Period>() {
                prop_assert_eq!(period.to_string().parse(), Ok(period));
            }
        }
    }
}
