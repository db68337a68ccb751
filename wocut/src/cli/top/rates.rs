//! Picks a second, from the counters of two looks. Pure: the time of a look comes with it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::row::Id;
use crate::status::Status;

/// Looks that are kept, which is more than a terminal has columns for.
const KEPT: usize = 240;

/// The rates of services and instances.
#[derive(Debug, Default)]
pub(super) struct Rates {
    seen: BTreeMap<Id, Seen>,
}

/// What is known of one of them.
#[derive(Debug)]
struct Seen {
    at: Duration,
    picks: u64,
    /// The last one last.
    rates: VecDeque<f64>,
}

impl Rates {
    /// Takes the counters of a look that was made so long after the first one.
    pub(super) fn look(&mut self, at: Duration, status: &Status) {
        let now = counters(status);
        self.seen.retain(|id, _| now.contains_key(id));
        for (id, picks) in now {
            let new = || Seen { at, picks, rates: VecDeque::new() };
            let seen = self.seen.entry(id).or_insert_with(new);
            let seconds = at.saturating_sub(seen.at).as_secs_f64();
            match picks.checked_sub(seen.picks) {
                Some(more) if seconds > 0.0 => seen.rates.push_back(as_f64(more) / seconds),
                Some(_) => continue,
                // It was detached in between, and is counted from nothing.
                None => seen.rates.clear(),
            }
            seen.rates.drain(..seen.rates.len().saturating_sub(KEPT));
            (seen.at, seen.picks) = (at, picks);
        }
    }

    /// Picks a second at the last look, if there was one before it to compare with.
    pub(super) fn last(&self, id: &Id) -> Option<f64> {
        self.seen.get(id)?.rates.back().copied()
    }

    /// The last so many rates, the last one last.
    pub(super) fn trend(&self, id: &Id, count: usize) -> Vec<f64> {
        let Some(Seen { rates, .. }) = self.seen.get(id) else { return Vec::new() };
        rates.iter().skip(rates.len().saturating_sub(count)).copied().collect()
    }
}

fn counters(status: &Status) -> BTreeMap<Id, u64> {
    let mut counters = BTreeMap::new();
    for service in &status.services {
        let whole = Id { service: service.name.clone(), instance: None };
        counters.extend(service.picks.map(|picks| (whole.clone(), picks)));
        for instance in &service.instances {
            let id = Id { instance: Some(instance.name.clone()), ..whole.clone() };
            counters.extend(instance.picked.map(|picked| (id, picked)));
        }
    }
    counters
}

#[expect(clippy::cast_precision_loss, reason = "a rate beyond 2^53 is none that a host has")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Id, Rates};
    use crate::cli::top::fixture::{id, picked};

    fn rates(looks: &[(u64, u64)]) -> (Rates, Id) {
        let mut rates = Rates::default();
        for (seconds, count) in looks {
            rates.look(Duration::from_secs(*seconds), &picked("web", &[("a", *count)]));
        }
        (rates, id("web/a"))
    }

    #[test]
    fn rate_is_of_the_time_between_two_looks() {
        let (rates, a) = rates(&[(0, 100), (1, 150), (5, 170)]);
        assert_eq!(rates.trend(&a, 9), [50.0, 5.0]);
        assert_eq!((rates.last(&a), rates.last(&id("web"))), (Some(5.0), Some(5.0)));
        assert_eq!(rates.trend(&a, 1), [5.0]);
    }

    #[test]
    fn first_look_has_no_rate() {
        let (rates, a) = rates(&[(0, 100)]);
        assert_eq!((rates.last(&a), rates.last(&id("web/b"))), (None, None));
    }

    #[test]
    fn two_looks_at_one_moment_have_no_rate() {
        let (rates, a) = rates(&[(3, 100), (3, 150)]);
        assert_eq!(rates.last(&a), None);
    }

    #[test]
    fn counter_that_begins_anew_has_no_rate_until_the_next_look() {
        let (mut rates, a) = rates(&[(0, 100), (1, 150), (2, 7)]);
        assert_eq!(rates.last(&a), None);
        rates.look(Duration::from_secs(3), &picked("web", &[("a", 10)]));
        assert_eq!(rates.last(&a), Some(3.0));
    }

    #[test]
    fn instance_that_was_gone_is_new() {
        let (mut rates, a) = rates(&[(0, 100), (1, 150)]);
        rates.look(Duration::from_secs(2), &picked("web", &[("b", 1)]));
        rates.look(Duration::from_secs(3), &picked("web", &[("a", 200)]));
        assert_eq!(rates.last(&a), None);
    }

    #[test]
    fn old_rates_are_forgotten() {
        let looks: Vec<(u64, u64)> = (0..1000).map(|n| (n, n)).collect();
        let (rates, a) = rates(&looks);
        assert_eq!(rates.trend(&a, 1000).len(), super::KEPT);
    }
}
