//! When an instance is asked. Pure: time and chance come in as arguments.
//!
//! Instances that are attached together would be asked together for ever, and so would the hosts of a fleet that were
//! started together. So the first check is anywhere in one interval, and every interval is a tenth longer or shorter.

use std::time::Duration;

/// How long to wait before the first check, given any number.
pub fn first(interval: Duration, random: u32) -> Duration {
    interval.mul_f64(part(random))
}

/// How long to wait after a check that took so long, given any number. Checks of one instance never overlap.
pub fn next(interval: Duration, took: Duration, random: u32) -> Duration {
    interval.mul_f64(0.9 + part(random) / 5.0).saturating_sub(took)
}

/// A part of one.
fn part(random: u32) -> f64 {
    f64::from(random) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{first, next};

    #[test]
    fn all_of_the_range_is_used() {
        let second = Duration::from_secs(1);
        let millis = |wait: Duration| wait.as_millis();
        assert_eq!([0, 1 << 31, u32::MAX].map(|it| millis(first(second, it))), [0, 500, 1000]);
        assert_eq!(
            [0, 1 << 31, u32::MAX].map(|it| millis(next(second, Duration::ZERO, it))),
            [900, 1000, 1100]
        );
    }

    proptest! {
        #[test]
        fn check_is_in_its_time(millis in 10u64..=3_600_000, took in 0u64..=3_600_000, random: u32) {
            let (interval, took) = (Duration::from_millis(millis), Duration::from_millis(took));
            prop_assert!(first(interval, random) <= interval);
            let between = took + next(interval, took, random);
            prop_assert!(between >= took && between >= interval * 9 / 10);
            prop_assert!(between == took || between <= interval * 11 / 10);
        }
    }
}
