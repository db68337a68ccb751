//! What holds whatever happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*};

use super::{Action, Event, Machine, Rules, WorkerId};
use crate::cluster::{rules::RetireRate, size::Marks};

/// What may happen. Numbers choose among workers that are there.
#[derive(Clone, Debug)]
enum Chance {
    Ready(usize),
    NotReady(usize),
    Exited(usize),
    Memory(usize, u64),
    NoConnections(usize),
    WatchdogMissed(usize),
    Drained(usize),
    Reload,
    Scale(u32),
    KillRetired,
    Stop,
    Time(u64),
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        12 => any::<usize>().prop_map(Chance::Ready),
        2 => any::<usize>().prop_map(Chance::NotReady),
        4 => any::<usize>().prop_map(Chance::Exited),
        4 => (any::<usize>(), 0..200u64).prop_map(|(which, used)| Chance::Memory(which, used)),
        4 => any::<usize>().prop_map(Chance::NoConnections),
        2 => any::<usize>().prop_map(Chance::WatchdogMissed),
        4 => any::<usize>().prop_map(Chance::Drained),
        2 => Just(Chance::Reload),
        2 => (1..8u32).prop_map(Chance::Scale),
        1 => Just(Chance::KillRetired),
        8 => (0..100_000u64).prop_map(Chance::Time),
    ]
}

/// The world as it is when everything is done that the machine wants.
#[derive(Debug, Default)]
struct World {
    starting: BTreeSet<WorkerId>,
    serving: BTreeSet<WorkerId>,
    draining: BTreeSet<WorkerId>,
    /// Those of them who may still get new connections.
    undrained: BTreeSet<WorkerId>,
    told_to_go: BTreeSet<WorkerId>,
    forgotten: BTreeSet<WorkerId>,
    indices: BTreeMap<WorkerId, u32>,
    /// Nobody waits for anything any more.
    stops: bool,
    finished: bool,
}

impl World {
    fn alive(&self) -> Vec<WorkerId> {
        [&self.starting, &self.serving, &self.draining, &self.told_to_go]
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Spawn { id, index, .. } => {
                assert!(self.indices.insert(id, index).is_none(), "{id} is not new");
                assert!(self.starting.insert(id));
            }
            Action::Serve { id, instead_of } => {
                assert!(self.starting.remove(&id) && self.serving.insert(id));
                if let Some(old) = instead_of {
                    assert!(self.serving.remove(&old) && self.draining.insert(old));
                    assert_eq!(self.indices[&id], self.indices[&old]);
                }
            }
            Action::Drain(id) => {
                assert!(self.serving.remove(&id) && self.draining.insert(id) && self.undrained.insert(id));
            }
            Action::Renice(id) => assert!(self.draining.contains(&id)),
            Action::Terminate(id) => {
                assert!(self.starting.remove(&id) || self.draining.remove(&id), "{id} is not drained");
                assert!(self.stops || !self.undrained.contains(&id), "{id} may get new connections");
                self.told_to_go.insert(id);
            }
            Action::Kill(id) => {
                assert!(self.told_to_go.contains(&id) || self.draining.remove(&id), "{id} is not drained");
                self.told_to_go.insert(id);
            }
            Action::Forget(id) => {
                assert!(self.forgotten.insert(id), "{id} was forgotten before");
                assert!(!self.alive().contains(&id));
            }
            Action::Tell(_) => {}
            Action::Finished { .. } => {
                assert!(self.alive().is_empty() && !self.finished);
                self.finished = true;
            }
        }
    }

    /// What the machine is told of it.
    fn event(&mut self, chance: &Chance) -> Option<Event> {
        let nth = |of: Vec<WorkerId>, which: usize| of.get(which.checked_rem(of.len())?).copied();
        let all = |set: &BTreeSet<WorkerId>| set.iter().copied().collect::<Vec<_>>();
        Some(match *chance {
            Chance::Ready(which) => Event::Ready(nth(all(&self.starting), which)?),
            Chance::NotReady(which) => {
                Event::NotReady { id: nth(all(&self.starting), which)?, why: String::new() }
            }
            Chance::Exited(which) => {
                let id = nth(self.alive(), which)?;
                let draining = [&mut self.draining, &mut self.undrained, &mut self.told_to_go];
                for set in [&mut self.starting, &mut self.serving].into_iter().chain(draining) {
                    set.remove(&id);
                }
                Event::Exited { id, why: String::new() }
            }
            Chance::Memory(which, used) => Event::Memory(vec![(nth(self.alive(), which)?, used)]),
            Chance::NoConnections(which) => Event::NoConnections(nth(self.alive(), which)?),
            Chance::WatchdogMissed(which) => Event::WatchdogMissed(nth(self.alive(), which)?),
            Chance::Drained(which) => {
                let id = nth(all(&self.undrained), which)?;
                self.undrained.remove(&id);
                Event::Drained(id)
            }
            Chance::Reload => Event::Reload,
            Chance::Scale(workers) => Event::Scale(NonZeroU32::new(workers)?),
            Chance::KillRetired => Event::KillRetired,
            Chance::Stop => {
                self.stops = true;
                Event::Stop
            }
            Chance::Time(_) => return None,
        })
    }
}

proptest! {
    #[test]
    fn capacity_stays_and_nobody_is_cut_off(
        (workers, at_once, give_up) in (1..6u32, 1..3usize, 1..5u32),
        adopted in vec((0..7u32, any::<bool>()), 0..6),
        chances in vec(chance(), 0..200),
    ) {
        let at_once = at_once.try_into().unwrap();
        let rules = Rules {
            at_once,
            give_up,
            memory: Some(150),
            total: Some(Marks { low: 300, high: 400 }),
            retire_rate: RetireRate { most: 3.try_into().unwrap(), window: Duration::from_mins(2) },
            ..Rules::default()
        };
        let mut machine = Machine::new(rules, workers.try_into().unwrap());
        let (mut world, mut now) = (World::default(), Instant::now());
        let mut wanted = usize::try_from(workers).unwrap();
        let mut surplus = 0;
        for (id, (index, serves)) in (1..).map(WorkerId).zip(adopted) {
            world.indices.insert(id, index);
            world.serving.insert(id);
            surplus += 1;
            machine.handle(now, Event::Adopted { id, index, generation: 1, serves });
        }
        machine.handle(now, Event::Start);
        let mut stops = false;
        for chance in chances.into_iter().chain([Chance::Stop]).chain((0..400).map(Chance::Exited)) {
            while let Some(action) = machine.poll_action() {
                world.act(&action);
            }
            let before = world.serving.len();
            let missing = given_up(&machine);
            let hung = matches!(chance, Chance::WatchdogMissed(_)) || has_hung(&machine);
            if let Chance::Time(millis) = chance {
                now += Duration::from_millis(millis);
            }
            match world.event(&chance) {
                Some(event) => machine.handle(now, event),
                None => machine.pass(now),
            }
            let after_loss = world.serving.len();
            while let Some(action) = machine.poll_action() {
                world.act(&action);
            }
            prop_assert!(machine.next_deadline().is_none_or(|deadline| deadline > now));
            if let Chance::Scale(workers) = chance && !stops {
                surplus = before;
                wanted = workers.try_into().unwrap();
            }
            stops |= matches!(chance, Chance::Stop) || machine.wanted() == 0;
            stops |= given_up(&machine) >= wanted && world.serving.is_empty();
            if stops {
                continue;
            }
            prop_assert_eq!(machine.serving(), world.serving.len());
            // Whoever hangs cannot serve, and is drained when the rate allows, but for the last one.
            let floor = (wanted - 1).saturating_sub(missing.max(given_up(&machine)));
            let least = if hung { after_loss.min(1) } else { after_loss.min(floor.max(1)) };
            prop_assert!(world.serving.len() >= least, "{} of {wanted} serve", world.serving.len());
            let live = world.starting.len() + world.serving.len();
            prop_assert!(live <= wanted + at_once.get() + surplus, "{live} for {wanted}");
        }
        prop_assert!(world.finished, "{world:?}");
    }
}

/// Whether a worker hangs that is not drained yet.
fn has_hung(machine: &Machine) -> bool {
    let mut workers = machine.workers();
    workers.any(|(_, worker)| worker.cause() == Some(super::super::Cause::Watchdog))
}

fn given_up(machine: &Machine) -> usize {
    (0..machine.wanted()).filter(|index| machine.has_given_up(*index)).count()
}
