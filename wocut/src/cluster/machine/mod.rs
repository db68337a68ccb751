//! The rules of a cluster. Pure: time comes in as an argument, what is to be done comes out.
//!
//! Every index from 0 to N-1 has a slot, with at most one worker that serves and one that is coming. After every event
//! [`advance`] looks at all of them and starts whoever is missing or is to replace another. A worker leaves the set only
//! when its replacement enters it, in one step; but for one that hangs, which clients are better off without, and for one
//! that is too many. From there [`leave`] sees it off: drain, SIGTERM, SIGKILL.

mod advance;
mod event;
mod leave;
mod rate;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    time::Instant,
};

pub use event::{Action, Cause, Event, News, WorkerId};
pub use worker::{Stage, Worker};

use self::{
    rate::Rate,
    worker::{Due, Slot},
};
use crate::cluster::rules::Rules;

/// The workers of one cluster, and what is under way.
#[derive(Clone, Debug)]
pub struct Machine {
    rules: Rules,
    workers: BTreeMap<WorkerId, Worker>,
    /// By index; as many as workers are wanted.
    slots: Vec<Slot>,
    generation: u64,
    next: u64,
    rate: Rate,
    /// All workers together came over the high mark, and are not under the low one yet.
    pressed: bool,
    phase: Phase,
    reload: Reload,
    /// Somebody waits for as many workers as were asked for.
    scaling: bool,
    actions: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Earlier workers are looked for.
    Adopting,
    Running,
    Stopping {
        gave_up: bool,
    },
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reload {
    None,
    Running,
    /// Another one is to follow.
    RunningAndAgain,
}

impl Machine {
    /// A cluster of so many workers, none of which is there yet.
    pub fn new(rules: Rules, workers: NonZeroU32) -> Self {
        let mut machine = Self {
            rate: Rate::new(rules.retire_rate),
            rules,
            workers: BTreeMap::new(),
            slots: Vec::new(),
            generation: 0,
            next: 1,
            pressed: false,
            phase: Phase::Adopting,
            reload: Reload::None,
            scaling: false,
            actions: VecDeque::new(),
        };
        machine.resize(workers.get());
        machine
    }

    /// What is to be done next. Everything is, before the next event.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`pass`](Self::pass) has something to do, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let workers = self.workers.values().filter_map(Worker::deadline);
        let slots = self.slots.iter().filter_map(|slot| slot.not_before);
        let waits = self.workers.values().any(|worker| worker.due.is_some_and(|due| !due.granted));
        workers.chain(slots).chain(self.rate.opens().filter(|_| waits)).min()
    }

    /// Workers that there is anything of, by their ids.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(id, worker)| (*id, worker))
    }

    /// How many are wanted.
    pub fn wanted(&self) -> u32 {
        self.slots.len().try_into().unwrap_or(u32::MAX)
    }

    /// The newest generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many get new connections.
    pub fn serving(&self) -> usize {
        self.workers.values().filter(|worker| worker.is_serving()).count()
    }

    /// Whether workers are being replaced by a newer generation.
    pub fn is_reloading(&self) -> bool {
        self.reload != Reload::None
    }

    /// Whether a worker that is ready is to serve, and whom it replaces: what [`Event::Ready`] would want done.
    pub fn replaces(&self, id: WorkerId) -> Option<Option<WorkerId>> {
        let worker = self.workers.get(&id).filter(|worker| worker.stage == Stage::Starting)?;
        self.slots.get(place(worker.index)).map(|slot| slot.holder)
    }

    /// Whether an index failed too often.
    pub fn has_given_up(&self, index: u32) -> bool {
        self.slots.get(place(index)).is_some_and(|slot| slot.given_up)
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Instant) {
        self.elapse(now);
        self.advance(now);
    }

    /// Something happened.
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.elapse(now);
        match event {
            Event::Adopted { id, index, generation, serves } => {
                self.adopt(id, index, generation, serves);
            }
            Event::Start if self.phase == Phase::Adopting => self.start(),
            Event::Ready(id) => self.ready(now, id),
            Event::NotReady { id, why } => self.not_ready(now, id, &why),
            Event::Exited { id, why } => self.exited(now, id, &why),
            Event::Memory(used) => self.measured(used),
            Event::Drained(id) => self.drained(now, id),
            Event::NoConnections(id) if self.is_drained(id) => self.terminate(now, id),
            Event::WatchdogMissed(id) => self.due(id, Cause::Watchdog),
            Event::Reload if self.phase == Phase::Running => match self.reload {
                Reload::None => self.begin_reload(),
                Reload::Running | Reload::RunningAndAgain => self.reload = Reload::RunningAndAgain,
            },
            Event::Scale(workers) if self.phase == Phase::Running => self.scale(now, workers.get()),
            Event::Stop => self.stop(now, false),
            Event::KillRetired => self.kill_retired(),
            Event::Start | Event::NoConnections(_) | Event::Reload | Event::Scale(_) => {}
        }
        self.advance(now);
    }

    fn adopt(&mut self, id: WorkerId, index: u32, generation: u64, serves: bool) {
        if self.phase != Phase::Adopting || self.workers.contains_key(&id) {
            return;
        }
        self.next = self.next.max(id.0.saturating_add(1));
        self.generation = self.generation.max(generation);
        let stage = Stage::Serving { steady_at: None };
        self.workers.insert(id, Worker::new(index, generation, stage));
        if !serves {
            self.drain(id);
        } else if let Some(slot) = self.slots.get_mut(place(index)) {
            slot.holder.get_or_insert(id);
        }
    }

    fn start(&mut self) {
        self.phase = Phase::Running;
        if self.serving() > 0 {
            self.begin_reload();
        } else {
            self.generation += 1;
            self.scaling = true;
        }
    }

    fn ready(&mut self, now: Instant, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        // One that is to go already is not put into the set.
        if worker.stage != Stage::Starting {
            return;
        }
        worker.stage = Stage::Serving { steady_at: Some(now + self.rules.steady) };
        let Some(slot) = self.slots.get_mut(place(worker.index)) else { return };
        slot.coming = None;
        let instead_of = slot.holder.replace(id);
        self.actions.push_back(Action::Serve { id, instead_of });
        if let Some(old) = instead_of {
            self.retire(old);
            self.drained(now, old);
        }
    }

    fn not_ready(&mut self, now: Instant, id: WorkerId, why: &str) {
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.stage == Stage::Starting) else {
            return;
        };
        let (index, generation) = (worker.index, worker.generation);
        self.terminate(now, id);
        self.failed(now, index, generation, why);
    }

    fn exited(&mut self, now: Instant, id: WorkerId, why: &str) {
        let Some(worker) = self.workers.remove(&id) else { return };
        self.actions.push_back(Action::Forget(id));
        let held = self.vacate(worker.index, id);
        if !held || worker.is_leaving() {
            return;
        }
        match worker.stage {
            Stage::Serving { steady_at: None } => {
                let pause = self.rules.first_pause;
                if let Some(slot) = self.slots.get_mut(place(worker.index)) {
                    slot.forgive();
                    slot.not_before = Some(now + pause);
                }
                self.tell(News::Again { index: worker.index, why: why.into(), pause });
            }
            _ => self.failed(now, worker.index, worker.generation, why),
        }
    }

    /// A worker did not come up, or did not serve for long.
    fn failed(&mut self, now: Instant, index: u32, generation: u64, why: &str) {
        let stopped = self.is_reloading() && generation == self.generation;
        if stopped {
            self.stop_reload(now, why);
        }
        let Some(slot) = self.slots.get_mut(place(index)) else { return };
        // The one before goes on, and nobody wants it replaced any more.
        if stopped && slot.holder.is_some() {
            return;
        }
        let (why, pause) = (why.to_owned(), slot.fail(now, &self.rules));
        self.tell(match pause {
            Some(pause) => News::Again { index, why, pause },
            None => News::GaveUp { index, why },
        });
    }

    fn measured(&mut self, used: Vec<(WorkerId, u64)>) {
        for (id, bytes) in used {
            let Some(worker) = self.workers.get_mut(&id) else { continue };
            worker.memory = bytes;
            if self.rules.memory.is_some_and(|limit| bytes > limit) {
                self.due(id, Cause::Memory);
            } else {
                self.spare(id, Cause::Memory);
            }
        }
    }

    /// It is to be retired as soon as the rate allows.
    fn due(&mut self, id: WorkerId, cause: Cause) {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.is_serving()) else { return };
        match &mut worker.due {
            // To hang is worse than to be fat.
            Some(due) if cause == Cause::Watchdog => due.cause = cause,
            Some(_) => {}
            None => worker.due = Some(Due { cause, granted: false }),
        }
    }

    /// It is not to be retired any more, unless that has begun.
    fn spare(&mut self, id: WorkerId, cause: Cause) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.due = worker.due.filter(|due| due.granted || due.cause != cause);
        }
    }

    fn begin_reload(&mut self) {
        self.generation += 1;
        self.reload = Reload::Running;
        // Whoever asks for it may have mended what failed.
        self.slots.iter_mut().for_each(Slot::forgive);
        self.tell(News::Reloading { generation: self.generation });
    }

    fn stop_reload(&mut self, now: Instant, why: &str) {
        self.tell(News::ReloadStopped { generation: self.generation, why: why.into() });
        let again = self.reload == Reload::RunningAndAgain;
        self.reload = Reload::None;
        let is_needed = |slot: &Slot| {
            let holder = slot.holder.and_then(|holder| self.workers.get(&holder));
            holder.is_none_or(|holder| holder.due.is_some())
        };
        let needless = self.slots.iter().filter(|slot| !is_needed(slot)).filter_map(|slot| slot.coming);
        for id in needless.collect::<Vec<_>>() {
            self.terminate(now, id);
        }
        if again {
            self.begin_reload();
        }
    }

    fn scale(&mut self, now: Instant, workers: u32) {
        let needless = self.slots.iter().skip(place(workers)).filter_map(|slot| slot.coming);
        for id in needless.collect::<Vec<_>>() {
            self.terminate(now, id);
        }
        self.resize(workers);
        self.slots.iter_mut().for_each(Slot::forgive);
        self.scaling = true;
    }

    /// Those with the highest indices are too many, or are missing. One that was too many before may be wanted again.
    fn resize(&mut self, workers: u32) {
        self.slots.resize_with(place(workers), Slot::default);
        for (id, worker) in self.workers.iter().filter(|(_, worker)| worker.is_serving()) {
            if let Some(slot) = self.slots.get_mut(place(worker.index)) {
                slot.holder.get_or_insert(*id);
            }
        }
    }

    /// Takes a worker out of its slot. False: it had none.
    fn vacate(&mut self, index: u32, id: WorkerId) -> bool {
        let Some(slot) = self.slots.get_mut(place(index)) else { return false };
        let place = [&mut slot.holder, &mut slot.coming].into_iter().find(|place| **place == Some(id));
        place.is_some_and(|place| place.take().is_some())
    }

    fn is_drained(&self, id: WorkerId) -> bool {
        self.workers.get(&id).is_some_and(|worker| matches!(worker.stage, Stage::Draining { until: Some(_) }))
    }

    fn tell(&mut self, news: News) {
        self.actions.push_back(Action::Tell(news));
    }
}

/// An index as one of the list of slots.
fn place(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
