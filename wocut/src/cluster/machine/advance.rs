//! What follows from how things are.

use std::{cmp::Reverse, time::Instant};

use super::{Action, Cause, Due, Machine, News, Phase, Reload, Slot, Stage, Worker, WorkerId, place};

impl Machine {
    /// Begins whatever can begin, and ends what has come to its end.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.phase == Phase::Running {
            self.relieve();
            self.isolate(now);
            self.fill(now);
            self.shed();
            // Where nobody is left who could serve, nothing is done that could be told.
            if self.slots.iter().all(Slot::is_lost) {
                self.stop(now, true);
            } else {
                self.settle(now);
            }
        }
        if let Phase::Stopping { gave_up } = self.phase
            && self.workers.is_empty()
        {
            self.phase = Phase::Finished;
            self.actions.push_back(Action::Finished { gave_up });
        }
    }

    fn settle(&mut self, now: Instant) {
        while self.conclude() {
            self.fill(now);
        }
    }

    /// When all workers together use too much, the one that uses the most is to go. One at a time: what it used is free
    /// only when it has ended, and so with those that leave for other reasons.
    fn relieve(&mut self) {
        let Some(marks) = self.rules.total else { return };
        let used: u64 = self.workers.values().map(|worker| worker.memory).fold(0, u64::saturating_add);
        self.pressed = used > marks.high || (self.pressed && used >= marks.low);
        if !self.pressed {
            let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
            for id in ids {
                self.spare(id, Cause::TotalMemory);
            }
            return;
        }
        let will_free = |worker: &Worker| worker.is_leaving() || worker.due.is_some();
        if self.is_reloading() || self.workers.values().any(will_free) {
            return;
        }
        let serving = self.workers.iter_mut().filter(|(_, worker)| worker.is_serving());
        if let Some((_, fattest)) = serving.max_by_key(|(id, worker)| (worker.memory, Reverse(**id))) {
            fattest.due = Some(Due { cause: Cause::TotalMemory, granted: false });
        }
    }

    /// One that hangs gets no new connections while its replacement comes up, unless nobody else would get them.
    fn isolate(&mut self, now: Instant) {
        let hangs = |worker: &Worker| worker.cause() == Some(Cause::Watchdog);
        let hung: Vec<WorkerId> =
            self.workers.iter().filter(|(_, worker)| hangs(worker)).map(|(id, _)| *id).collect();
        let mut serving = self.serving();
        for id in hung {
            if serving < 2 || !self.grant(now, id) {
                return;
            }
            self.drain(id);
            serving -= 1;
        }
    }

    /// Starts whoever is missing, and replacements, as many at once as may be.
    fn fill(&mut self, now: Instant) {
        let replaced = self.slots.iter().filter(|slot| slot.holder.is_some() && slot.coming.is_some());
        let mut room = self.rules.at_once.get().saturating_sub(replaced.count());
        for index in 0..self.wanted() {
            let open = self.slots.get(place(index)).filter(|slot| slot.is_open());
            let Some(holder) = open.map(|slot| slot.holder) else { continue };
            match holder {
                None => self.spawn(index),
                Some(holder) if room > 0 && self.is_to_go(now, holder) => {
                    self.spawn(index);
                    room -= 1;
                }
                Some(_) => {}
            }
        }
    }

    fn spawn(&mut self, index: u32) {
        let (id, generation) = (WorkerId(self.next), self.generation);
        self.next += 1;
        self.workers.insert(id, Worker::new(index, generation, Stage::Starting));
        if let Some(slot) = self.slots.get_mut(place(index)) {
            slot.coming = Some(id);
        }
        self.actions.push_back(Action::Spawn { id, index, generation });
    }

    fn is_to_go(&mut self, now: Instant, holder: WorkerId) -> bool {
        let Some(worker) = self.workers.get(&holder) else { return false };
        let old = self.is_reloading() && worker.generation < self.generation;
        old || (worker.due.is_some() && self.grant(now, holder))
    }

    /// Whether the rate lets this one be retired.
    fn grant(&mut self, now: Instant, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else { return false };
        let Some(due) = &mut worker.due else { return false };
        if due.granted {
            return true;
        }
        due.granted = self.rate.take(now);
        if due.granted {
            let news = News::Retiring { index: worker.index, cause: due.cause };
            self.actions.push_back(Action::Tell(news));
        }
        self.workers.get(&id).is_some_and(|worker| worker.due.is_some_and(|due| due.granted))
    }

    /// Drains those that are too many, the highest index first, as long as enough are left.
    fn shed(&mut self) {
        let missing = self.slots.iter().filter(|slot| slot.is_lost()).count();
        let enough = (self.slots.len() - missing).max(1);
        let mut surplus: Vec<(u32, WorkerId)> = (self.workers.iter())
            .filter(|(id, worker)| worker.is_serving() && !self.holds(**id, worker))
            .map(|(id, worker)| (worker.index, *id))
            .collect();
        surplus.sort_unstable();
        let too_many = self.serving().saturating_sub(enough);
        for (_, id) in surplus.into_iter().rev().take(too_many) {
            self.drain(id);
        }
    }

    fn holds(&self, id: WorkerId, worker: &Worker) -> bool {
        self.slots.get(place(worker.index)).is_some_and(|slot| slot.holder == Some(id))
    }

    /// Says what is done. True: a reload has begun that waited for that.
    fn conclude(&mut self) -> bool {
        let holder = |slot: &Slot| slot.holder.and_then(|holder| self.workers.get(&holder));
        let settled = self.slots.iter().all(|slot| slot.holder.is_some() || slot.given_up);
        let serving = self.slots.iter().filter(|slot| slot.holder.is_some()).count();
        let is_new = |worker: &Worker| worker.generation == self.generation;
        // An index that is given up has nobody to replace.
        let is_renewed = |slot: &Slot| slot.coming.is_none() && holder(slot).is_none_or(is_new);
        let renewed = settled && self.slots.iter().all(is_renewed);
        if self.scaling && settled && self.serving() == serving {
            self.scaling = false;
            self.tell(News::Scaled { serving, wanted: self.wanted() });
        }
        if !renewed || !self.is_reloading() {
            return false;
        }
        let again = self.reload == Reload::RunningAndAgain;
        self.reload = Reload::None;
        self.tell(News::Reloaded { generation: self.generation });
        if again {
            self.begin_reload();
        }
        again
    }
}
