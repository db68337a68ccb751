//! Numbers from rounds: medians, pair-by-pair ratios, percentiles. Pure.

use serde::{Deserialize, Serialize};

/// The middle of a set, and its ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Of no values there is none.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let half = sorted.len() / 2;
        let upper = *sorted.get(half)?;
        let lower = if sorted.len().is_multiple_of(2) { *sorted.get(half - 1)? } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }

    /// Of each round's value as a multiple of the same round's in `base`.
    pub(super) fn of_ratios(values: &[f64], base: &[f64]) -> Option<Self> {
        let pairs = values.iter().zip(base).filter(|&(_, &base)| base != 0.0);
        Self::of(&pairs.map(|(value, base)| value / base).collect::<Vec<_>>())
    }
}

/// The value that `part` (0 to 1) of all are not above: the nearest rank. The values are in order.
pub(super) fn percentile(sorted: &[f64], part: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "runs have far fewer than 2^52 values")]
    let rank = (sorted.len() as f64 * part).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the length")]
    let rank = rank as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().checked_sub(1)?)).copied()
}

#[cfg(test)]
mod tests {
    use super::{Spread, percentile};

    #[test]
    fn a_median_is_the_middle_one_or_between_the_middle_two() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        // The medians alone are equal; every pair but one is not.
        let ratios = Spread::of_ratios(&[10.0, 20.0, 30.0], &[20.0, 40.0, 10.0]);
        assert_eq!(ratios, Some(Spread { median: 0.5, min: 0.5, max: 3.0 }));
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), Some(500.0));
        assert_eq!(percentile(&values, 0.99), Some(990.0));
        assert_eq!(percentile(&values, 0.999), Some(999.0));
        assert_eq!(percentile(&values, 1.0), Some(1000.0));
        assert_eq!(percentile(&[7.0], 0.001), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
