//! So many retirements in a window of time.

use std::{collections::VecDeque, time::Instant};

use crate::cluster::rules::RetireRate;

/// The retirements of the last window.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    limit: RetireRate,
    past: VecDeque<Instant>,
}

impl Rate {
    pub(super) fn new(limit: RetireRate) -> Self {
        Self { limit, past: VecDeque::new() }
    }

    /// Forgets what is too long ago.
    pub(super) fn pass(&mut self, now: Instant) {
        while self.past.front().is_some_and(|first| *first + self.limit.window <= now) {
            self.past.pop_front();
        }
    }

    /// Counts one more, if there is room for it.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let room = self.past.len() < self.limit.most.get();
        if room {
            self.past.push_back(now);
        }
        room
    }

    /// When there is room again, if there is none now.
    pub(super) fn opens(&self) -> Option<Instant> {
        let full = self.past.len() >= self.limit.most.get();
        self.past.front().filter(|_| full).map(|first| *first + self.limit.window)
    }
}
