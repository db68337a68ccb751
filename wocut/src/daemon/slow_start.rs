//! Gives instances that came up their share by and by.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::time::{sleep, sleep_until};

use super::{Event, Handle};
use crate::{
    error::one_line,
    model::{Name, Wanted},
    plan::{Change, FIRST_PART},
};

/// Who makes these changes.
const WHO: &str = "slow start";
/// A change is not worth its while more often.
const STEP: Duration = Duration::from_millis(500);
/// After a change that could not be made, it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// An instance that starts slowly.
struct Slow {
    service: Name,
    instance: Name,
    id: u32,
    has: u8,
    takes: Duration,
}

/// Where one was when it was first seen here: another daemon may have begun.
struct Begun {
    at: Instant,
    ahead: Duration,
}

/// Changes shares until it is dropped.
pub(super) async fn run(handle: &Handle) -> anyhow::Result<()> {
    let mut wanted = handle.watch();
    let mut begun: BTreeMap<u32, Begun> = BTreeMap::new();
    loop {
        let slow: Vec<Slow> = all(&wanted.borrow_and_update()).collect();
        let now = Instant::now();
        begun.retain(|id, _| slow.iter().any(|slow| slow.id == *id));
        let (mut due, mut next) = (Vec::new(), None);
        for Slow { service, instance, id, has, takes } in slow {
            let ahead = if has > FIRST_PART { takes * has.into() / 100 } else { Duration::ZERO };
            let begun = begun.entry(id).or_insert(Begun { at: now, ahead });
            let elapsed = begun.ahead + (now - begun.at);
            let part = part(elapsed, takes);
            if part == Some(has) {
                let wait = until_next(elapsed, takes);
                next = Some(next.map_or(wait, |next: Duration| next.min(wait)));
            } else {
                due.push((service, instance, part));
            }
        }
        if !due.is_empty() {
            if let Err(error) = handle.change(WHO, |_, _| Ok(Change::Throttle(due))).await {
                let what = "give an instance more of its share".into();
                handle.tell(Event::Failed { what, why: one_line(&error) });
                sleep(AGAIN).await;
            }
            continue;
        }
        let step = async {
            match next {
                Some(wait) => sleep_until((now + wait.max(STEP)).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = wanted.changed() => changed.context("wait for changes of what is wanted")?,
            () = step => {}
        }
    }
}

fn all(wanted: &Wanted) -> impl Iterator<Item = Slow> {
    wanted.services.iter().flat_map(|(service, of)| {
        of.instances.iter().filter_map(move |instance| {
            let (id, has, takes) = (instance.id, instance.throttle?, of.options.slow_start?.get());
            Some(Slow { service: service.clone(), instance: instance.spec.name.clone(), id, has, takes })
        })
    })
}

/// The part of its weight, in percent, that one has after so long: it grows by a tenth at a time. `None` is all of it.
fn part(elapsed: Duration, takes: Duration) -> Option<u8> {
    let percent = u8::try_from(elapsed.as_millis() * 100 / takes.as_millis().max(1)).unwrap_or(100);
    (percent < 100).then_some((percent - percent % 10).max(FIRST_PART))
}

/// From then to the next step.
fn until_next(elapsed: Duration, takes: Duration) -> Duration {
    let steps = (1..=10).map(|tenth| takes * tenth / 10);
    let next = steps.filter(|step| part(*step, takes) != part(elapsed, takes)).find(|step| *step > elapsed);
    next.map_or(Duration::ZERO, |next| next.saturating_sub(elapsed))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{part, until_next};

    #[test]
    fn share_grows_by_tenths_up_to_the_whole() {
        let at = |millis| part(Duration::from_millis(millis), Duration::from_secs(10));
        assert_eq!([at(0), at(1999), at(2000), at(9999)], [Some(10), Some(10), Some(20), Some(90)]);
        assert_eq!([at(10_000), at(1_000_000_000)], [None; 2]);
        assert_eq!(part(Duration::ZERO, Duration::from_millis(10)), Some(10));
    }

    #[test]
    fn next_step_is_one_that_changes_something() {
        let wait = |millis| until_next(Duration::from_millis(millis), Duration::from_secs(10)).as_millis();
        assert_eq!([wait(0), wait(1500), wait(2000), wait(9990)], [2000, 500, 1000, 10]);
    }
}
