//! One worker, and the place of one.

use std::time::{Duration, Instant};

use super::event::{Cause, WorkerId};
use crate::cluster::rules::Rules;

/// One worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its `WOCUT_WORKER`.
    pub index: u32,
    /// The generation that it was started in.
    pub generation: u64,
    /// What it used last, in bytes; 0 while that is not known.
    pub memory: u64,
    /// Where it is between its start and its end.
    pub stage: Stage,
    pub(super) due: Option<Due>,
}

/// Where a worker is between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was started and is not in the set.
    Starting,
    /// It is in the set.
    Serving {
        /// When it will have served long enough not to be a failure. None: it has.
        steady_at: Option<Instant>,
    },
    /// It goes on with the connections that it has.
    Draining {
        /// No longer than this. None: it could not be drained yet, and clients may still come to it.
        until: Option<Instant>,
    },
    /// It got SIGTERM.
    Terminated {
        /// When it gets SIGKILL.
        kill_at: Instant,
    },
    /// It got SIGKILL.
    Killed,
}

/// It is to be retired for what it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) cause: Cause,
    /// Whether it is counted in the rate of retirements.
    pub(super) granted: bool,
}

impl Worker {
    pub(super) fn new(index: u32, generation: u64, stage: Stage) -> Self {
        Self { index, generation, memory: 0, stage, due: None }
    }

    /// Whether it is in the set and gets new connections.
    pub fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Serving { .. })
    }

    /// Whether it never gets another connection.
    pub fn is_leaving(&self) -> bool {
        !self.is_serving() && self.stage != Stage::Starting
    }

    /// Why it is about to be retired, if it is.
    pub fn cause(&self) -> Option<Cause> {
        self.due.map(|due| due.cause)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Starting | Stage::Killed => None,
            Stage::Serving { steady_at } => steady_at,
            Stage::Draining { until } => until,
            Stage::Terminated { kill_at } => Some(kill_at),
        }
    }
}

/// The place of the worker that has one index.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// Who serves.
    pub(super) holder: Option<WorkerId>,
    /// Who is being started.
    pub(super) coming: Option<WorkerId>,
    /// Before then nobody is started.
    pub(super) not_before: Option<Instant>,
    pub(super) given_up: bool,
    /// In a row, none of which had served for long.
    failures: u32,
}

impl Slot {
    /// Another failure. Returns the pause before the next try, or none if there is to be none. Who is to replace
    /// somebody that serves is never given up: that one may have to go for what it does.
    pub(super) fn fail(&mut self, now: Instant, rules: &Rules) -> Option<Duration> {
        let pause = rules.first_pause.saturating_mul(1 << self.failures.min(20)).min(rules.longest_pause);
        self.failures = self.failures.saturating_add(1);
        self.given_up = self.holder.is_none() && self.failures >= rules.give_up;
        self.not_before = (!self.given_up).then_some(now + pause);
        (!self.given_up).then_some(pause)
    }

    /// Whatever failed before does not count any more.
    pub(super) fn forgive(&mut self) {
        (self.failures, self.given_up, self.not_before) = (0, false, None);
    }

    /// Whether nobody serves there, and nobody will.
    pub(super) fn is_lost(&self) -> bool {
        self.given_up && self.holder.is_none()
    }

    /// Whether somebody may be started now.
    pub(super) fn is_open(&self) -> bool {
        self.coming.is_none() && self.not_before.is_none() && !self.given_up
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::Slot;
    use crate::cluster::rules::Rules;

    #[test]
    fn pause_doubles_up_to_the_longest() {
        let (mut slot, rules) = (Slot::default(), Rules { give_up: 12, ..Rules::default() });
        let mut pause = || slot.fail(Instant::now(), &rules).map(|pause| pause.as_millis());
        let pauses: Vec<_> = (0..12).map(|_| pause()).collect();
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000].map(Some);
        assert_eq!(pauses[..11], expected);
        assert_eq!(pauses[11], None);
        assert!(slot.given_up && !slot.is_open());
        slot.forgive();
        assert!(slot.is_open());
        assert_eq!(slot.fail(Instant::now(), &rules), Some(rules.first_pause));
    }
}
