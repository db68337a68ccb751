//! Times as arguments.

use std::time::Duration;

/// More is a mistake, and much more cannot be added to a moment.
const LONGEST: Duration = Duration::from_hours(24 * 365 * 100);
/// What has to come more often than that is late for no reason.
const SHORTEST: Duration = Duration::from_millis(1);

/// How long something may take.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration > LONGEST { Err("it is at most 100 years".into()) } else { Ok(duration) }
}

/// How often something has to come.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    let period = duration(text)?;
    if period < SHORTEST { Err("it is at least 1ms".into()) } else { Ok(period) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{duration, period};

    #[test]
    fn times_that_make_no_sense_are_refused() {
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("36500days"), Ok(super::LONGEST));
        assert_eq!(duration("18446744073709551615s"), Err("it is at most 100 years".into()));
        assert!(duration("soon").is_err());
        assert_eq!(period("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(period("999us"), Err("it is at least 1ms".into()));
        assert_eq!(period("0s"), Err("it is at least 1ms".into()));
    }
}
