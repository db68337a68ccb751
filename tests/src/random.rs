//! Random choices that can be had again: the seed is printed when the test fails.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, io, thread};

use crate::must::Must as _;

/// `SplitMix64`, seeded from `WOCUT_TEST_SEED` or else the clock.
#[derive(Debug)]
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// A generator with a seed of its own.
    pub fn seeded() -> Self {
        let given = env::var("WOCUT_TEST_SEED").ok().map(|text| text.parse().must("read WOCUT_TEST_SEED"));
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).must("read the clock");
            u64::from(now.subsec_nanos()) ^ now.as_secs() << 32
        });
        Self { seed, state: seed }
    }

    /// One that makes the same choices as this one made from its beginning.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { seed: self.seed, state: self.seed }
    }

    /// The next 64 bits.
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ bits >> 31
    }

    /// A number from 0 up to, but not including, `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        let number = self.bits() % u64::from(end);
        u32::try_from(number).must("stay below the end")
    }

    /// A part of the time.
    pub fn moment(&mut self, within: Duration) -> Duration {
        within.mul_f64(f64::from(self.below(1_000_000)) / 1_000_000.0)
    }

    /// One of the choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// One of the choices, to be used.
    pub fn one_of<'a, T>(&mut self, choices: &'a mut [T]) -> &'a mut T {
        &mut choices[self.index(choices.len())]
    }

    fn index(&mut self, choices: usize) -> usize {
        self.below(u32::try_from(choices).must("count the choices")) as usize
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(writeln!(io::stderr(), "the same choices again: WOCUT_TEST_SEED={}", self.seed));
        }
    }
}
