//! What answers say of an instance's health. Pure: it knows no clock.

use std::{num::NonZeroU8, time::Duration};

use crate::model::{Check, Health, Period};

/// The health of one instance.
///
/// One that is `unknown` takes connections, and its first answer decides, as with HAProxy's `init-state up`. One that is
/// `up` goes down after `fall` bad answers in a row, one that is `down` goes up after `rise` good ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    health: Health,
    /// Answers in a row that speak against it.
    against: u8,
    rise: NonZeroU8,
    fall: NonZeroU8,
    usual: Duration,
    fast: Duration,
}

impl Machine {
    /// Goes on from the health that is written down; from what the check has as `initial` where none is known. That can
    /// differ from what is written down: see [`Self::health`].
    pub fn new(health_now: Health, check: &Check) -> Self {
        let health = if health_now == Health::Unknown { check.initial } else { health_now };
        let usual = check.interval.get();
        let fast = check.fast_interval.map_or(usual, Period::get);
        Self { health, against: 0, rise: check.rise, fall: check.fall, usual, fast }
    }

    /// What is held of it now.
    pub fn health(&self) -> Health {
        self.health
    }

    /// An answer came, a good one or a bad one. Returns the health if that changed.
    pub fn heard(&mut self, good: bool) -> Option<Health> {
        let enough = match (self.health, good) {
            (Health::Up, true) | (Health::Down, false) => {
                self.against = 0;
                return None;
            }
            (Health::Unknown, _) => 1,
            (Health::Up, false) => self.fall.get(),
            (Health::Down, true) => self.rise.get(),
        };
        self.against += 1;
        if self.against < enough {
            return None;
        }
        self.against = 0;
        self.health = if good { Health::Up } else { Health::Down };
        Some(self.health)
    }

    /// A client's connection failed: as bad as a bad answer. Returns the health if that changed.
    pub fn failed_in_traffic(&mut self) -> Option<Health> {
        self.heard(false)
    }

    /// From one check to the next: the fast interval while the next answers may change something.
    pub fn interval(&self) -> Duration {
        let may_change = self.against > 0 || self.health == Health::Unknown;
        if may_change { self.fast } else { self.usual }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::Machine;
    use crate::model::{Check, CheckKind, Health};

    fn check(rise: u8, fall: u8) -> Check {
        Check {
            rise: rise.try_into().unwrap(),
            fall: fall.try_into().unwrap(),
            fast_interval: "100ms".parse().ok(),
            ..Check::of(CheckKind::Tcp)
        }
    }

    fn heard(machine: &mut Machine, answers: &str) -> Vec<Option<Health>> {
        answers.chars().map(|answer| machine.heard(answer == '+')).collect()
    }

    #[test]
    fn answers_count_only_in_a_row() {
        let mut machine = Machine::new(Health::Up, &check(2, 3));
        assert_eq!(heard(&mut machine, "--+--"), [None; 5]);
        assert_eq!(heard(&mut machine, "-"), [Some(Health::Down)]);
        assert_eq!(heard(&mut machine, "-+-+"), [None; 4]);
        assert_eq!(heard(&mut machine, "+"), [Some(Health::Up)]);
    }

    #[test]
    fn first_answer_decides_where_nothing_is_known() {
        for (answer, health) in [("+", Health::Up), ("-", Health::Down)] {
            let mut machine = Machine::new(Health::Unknown, &check(2, 3));
            assert_eq!(heard(&mut machine, answer), [Some(health)]);
        }
    }

    #[test]
    fn what_is_written_down_goes_before_what_is_initial() {
        let check = Check { initial: Health::Down, ..check(2, 3) };
        assert_eq!(Machine::new(Health::Unknown, &check).health(), Health::Down);
        assert_eq!(Machine::new(Health::Up, &check).health(), Health::Up);
        assert_eq!(Machine::new(Health::Down, &check).health(), Health::Down);
    }

    #[test]
    fn failures_in_traffic_count_as_bad_answers() {
        let mut machine = Machine::new(Health::Up, &check(1, 3));
        assert_eq!([machine.failed_in_traffic(), machine.heard(false)], [None; 2]);
        assert_eq!(machine.failed_in_traffic(), Some(Health::Down));
        assert_eq!(machine.failed_in_traffic(), None);
    }

    #[test]
    fn it_is_asked_fast_while_its_state_may_change() {
        let millis = |machine: &Machine| machine.interval().as_millis();
        let mut machine = Machine::new(Health::Unknown, &check(2, 2));
        let mut intervals = vec![millis(&machine)];
        for answer in "+-+--+-++".chars() {
            machine.heard(answer == '+');
            intervals.push(millis(&machine));
        }
        assert_eq!(intervals, [100, 2000, 100, 2000, 100, 2000, 100, 2000, 100, 2000]);
    }

    proptest! {
        /// The rule said another way: health is what the last run of alike answers made of it that was long enough.
        #[test]
        fn health_changes_after_exactly_so_many(
            from in select(vec![Health::Up, Health::Down, Health::Unknown]),
            (rise, fall) in (1u8.., 1u8..),
            runs in vec((any::<bool>(), 1usize..300), 0..20),
        ) {
            let mut machine = Machine::new(from, &check(rise, fall));
            let mut health = from;
            let mut row = (true, 0usize);
            for (good, count) in runs {
                for _ in 0..count {
                    row = if row.0 == good { (good, row.1 + 1) } else { (good, 1) };
                    let towards = if good { Health::Up } else { Health::Down };
                    let enough = if good { rise } else { fall };
                    let changes = health == Health::Unknown || (health != towards && row.1 >= enough.into());
                    if changes {
                        health = towards;
                    }
                    prop_assert_eq!(machine.heard(good), changes.then_some(towards));
                    prop_assert_eq!(machine.health(), health);
                }
            }
        }
    }
}
