//! When requests come and what they ask for: drawn from a seed, so that every path gets the same. Pure.

use std::time::Duration;

use crate::bench::server::Work;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Arrival {
    /// After the start.
    pub(super) at: Duration,
    pub(super) work: Work,
}

/// Requests that come independently of each other, that many a second, of which one part asks for long work.
pub(super) fn arrivals(seed: u64, per_second: f64, long: f64, window: Duration) -> Vec<Arrival> {
    let mut random = Random::new(seed);
    let mut at = 0.0;
    let mut all = Vec::new();
    loop {
        at += -(1.0 - random.unit()).ln() / per_second;
        if at >= window.as_secs_f64() {
            return all;
        }
        let work = if random.unit() < long { Work::Long } else { Work::Short };
        all.push(Arrival { at: Duration::from_secs_f64(at), work });
    }
}

/// xorshift64*, which is even enough for a schedule.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Neighbouring seeds differ in few bits.
        for _ in 0..8 {
            random.unit();
        }
        random
    }

    /// From 0 to less than 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = u32::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).unwrap_or(0);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::arrivals;
    use crate::bench::server::Work;

    #[test]
    fn a_schedule_has_the_rate_and_the_mix_and_is_the_same_again() {
        let all = arrivals(7, 1000.0, 0.05, Duration::from_secs(100));
        assert!((99_000..101_000).contains(&all.len()), "{}", all.len());
        let long = all.iter().filter(|arrival| arrival.work == Work::Long).count();
        assert!((4_700..5_300).contains(&long), "{long}");
        assert!(all.is_sorted_by_key(|arrival| arrival.at));
        assert_eq!(all, arrivals(7, 1000.0, 0.05, Duration::from_secs(100)));
        assert_ne!(all[..10], arrivals(8, 1000.0, 0.05, Duration::from_secs(100))[..10]);
    }
}
