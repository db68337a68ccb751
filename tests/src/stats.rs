//! Whether counts fit shares.

use std::collections::BTreeMap;

use statrs::distribution::{ChiSquared, ContinuousCDF as _};

use crate::must::Must as _;

/// What part of the connections each instance should get, in any unit.
pub type Shares = BTreeMap<u16, u32>;

/// Below this, counts are taken as unfair; fair ones come out so once in a thousand times.
pub const LEAST_P: f64 = 0.001;

/// Pearson's chi-square: how likely counts as uneven as these are, if the shares hold; 0 if a stranger was counted.
pub fn p_value(counts: &BTreeMap<u16, u64>, shares: &Shares) -> f64 {
    if counts.keys().any(|instance| !shares.contains_key(instance)) {
        return 0.0;
    }
    let total: f64 = counts.values().map(|&count| float(count)).sum();
    let whole: f64 = shares.values().map(|&share| f64::from(share)).sum();
    let distance = |(instance, &share): (&u16, &u32)| {
        let expected = total * f64::from(share) / whole;
        let count = float(counts.get(instance).copied().unwrap_or_default());
        (count - expected).powi(2) / expected
    };
    let chi_square: f64 = shares.iter().map(distance).sum();
    let freedom = float(shares.len() as u64 - 1);
    ChiSquared::new(freedom).must("make a chi-square distribution").sf(chi_square)
}

/// Counts of a test fit in 32 bits, which a float holds exactly.
fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).must("count in 32 bits"))
}
