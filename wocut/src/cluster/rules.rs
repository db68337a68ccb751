//! What a user may set of the rules.

use std::{fmt, num::NonZeroUsize, str::FromStr, time::Duration};

use super::size::Marks;
use crate::model::ParseError;

/// How a cluster is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Workers that are replaced at the same time.
    pub at_once: NonZeroUsize,
    /// What one worker may use, in bytes.
    pub memory: Option<u64>,
    /// What all workers together may use.
    pub total: Option<Marks>,
    /// How many workers are retired for what they do.
    pub retire_rate: RetireRate,
    /// How long a retired worker may go on with the connections it has.
    pub retire_timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill_after: Duration,
    /// The pause before a worker is started again, the first time. It doubles.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// One that has served this long is not counted as a failure when it ends.
    pub steady: Duration,
    /// An index is given up after so many failures in a row.
    pub give_up: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            at_once: NonZeroUsize::MIN,
            memory: None,
            total: None,
            retire_rate: RetireRate::default(),
            retire_timeout: Duration::from_mins(1),
            kill_after: Duration::from_secs(5),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(30),
            steady: Duration::from_mins(1),
            give_up: 8,
        }
    }
}

/// So many retirements in so long a time, as in `10/2m`.
///
/// It is for workers that use too much memory or do not answer: when all of them do, something else is wrong, and
/// replacing them one after the other makes it worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetireRate {
    /// At most.
    pub most: NonZeroUsize,
    /// In any such time.
    pub window: Duration,
}

impl RetireRate {
    const MOST: usize = 10_000;
    const LONGEST: Duration = Duration::from_hours(24);
}

impl Default for RetireRate {
    fn default() -> Self {
        Self { most: NonZeroUsize::MIN.saturating_add(9), window: Duration::from_mins(2) }
    }
}

impl FromStr for RetireRate {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (most, window) = text.split_once('/')?;
            let most = most.parse().ok().filter(|most: &NonZeroUsize| most.get() <= Self::MOST)?;
            let window = humantime::parse_duration(window).ok()?;
            (!window.is_zero() && window <= Self::LONGEST).then_some(Self { most, window })
        };
        let why = "it is a number from 1 to 10000, `/` and a time up to 24h, as in `10/2m`";
        parse().ok_or_else(|| ParseError::new(text, "a rate", why))
    }
}

impl fmt::Display for RetireRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `2m`, and not `2m 0s` or `120s`, in a default that `--help` shows.
        let window = humantime::format_duration(self.window).to_string().replace(' ', "");
        write!(f, "{}/{window}", self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::RetireRate;

    #[test]
    fn rate_is_read_as_it_is_shown() {
        assert_eq!(RetireRate::default().to_string(), "10/2m");
        for good in ["10/2m", "1/1ms", "10000/1day"] {
            assert_eq!(good.parse::<RetireRate>().unwrap().to_string(), good);
        }
        for bad in ["", "10", "0/2m", "10/0s", "10/2", "10001/1s", "1/25h", "-1/1s", "/", "1/1s/1s"] {
            assert!(bad.parse::<RetireRate>().unwrap_err().to_string().contains("10/2m"), "{bad}");
        }
    }
}
