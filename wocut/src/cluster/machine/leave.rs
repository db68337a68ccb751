//! How workers leave: drain, SIGTERM, SIGKILL.

use std::time::Instant;

use super::{Action, Machine, Phase, Stage, Worker, WorkerId, place};

impl Machine {
    /// Does what is due by now.
    pub(super) fn elapse(&mut self, now: Instant) {
        self.rate.pass(now);
        for slot in &mut self.slots {
            slot.not_before = slot.not_before.filter(|start| *start > now);
        }
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let due = self.workers.iter().filter(|(_, worker)| is_due(worker.deadline()));
        let due: Vec<(WorkerId, Stage)> = due.map(|(id, worker)| (*id, worker.stage)).collect();
        for (id, stage) in due {
            match stage {
                Stage::Serving { .. } => self.steady(id),
                Stage::Draining { .. } => self.terminate(now, id),
                Stage::Terminated { .. } => self.kill(id),
                Stage::Starting | Stage::Killed => {}
            }
        }
    }

    /// It has served long enough: what failed before does not count.
    fn steady(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.stage = Stage::Serving { steady_at: None };
        if let Some(slot) = self.slots.get_mut(place(worker.index)).filter(|slot| slot.holder == Some(id)) {
            slot.forgive();
        }
    }

    /// Takes it out of the set and sees it off.
    pub(super) fn drain(&mut self, id: WorkerId) {
        self.actions.push_back(Action::Drain(id));
        self.retire(id);
    }

    /// It gets no new connections from here on: its time runs.
    pub(super) fn drained(&mut self, now: Instant, id: WorkerId) {
        let until = now + self.rules.retire_timeout;
        if let Some(Worker { stage: Stage::Draining { until: none @ None }, .. }) = self.workers.get_mut(&id)
        {
            *none = Some(until);
        }
    }

    /// Sees one off that is to get no new connections any more.
    pub(super) fn retire(&mut self, id: WorkerId) {
        self.leave(id);
        self.actions.push_back(Action::Renice(id));
    }

    fn leave(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.stage = Stage::Draining { until: None };
        worker.due = None;
        let index = worker.index;
        self.vacate(index, id);
    }

    pub(super) fn terminate(&mut self, now: Instant, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.stage = Stage::Terminated { kill_at: now + self.rules.kill_after };
        worker.due = None;
        let index = worker.index;
        self.vacate(index, id);
        self.actions.push_back(Action::Terminate(id));
    }

    fn kill(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.stage = Stage::Killed;
            self.actions.push_back(Action::Kill(id));
        }
    }

    pub(super) fn kill_retired(&mut self) {
        let leaving = self.workers.iter().filter(|(_, worker)| worker.is_leaving());
        // A signal that was sent need not be sent again.
        let alive = leaving.filter(|(_, worker)| worker.stage != Stage::Killed);
        for id in alive.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.kill(id);
        }
    }

    /// Sees everybody off. Who is asked a second time does not wait for connections.
    pub(super) fn stop(&mut self, now: Instant, gave_up: bool) {
        let again = matches!(self.phase, Phase::Stopping { .. });
        if self.phase == Phase::Finished {
            return;
        }
        if !again {
            self.phase = Phase::Stopping { gave_up };
        }
        for slot in &mut self.slots {
            slot.not_before = None;
        }
        let all: Vec<(WorkerId, Stage)> =
            self.workers.iter().map(|(id, worker)| (*id, worker.stage)).collect();
        for (id, stage) in all {
            match stage {
                Stage::Starting => self.terminate(now, id),
                Stage::Draining { .. } if again => self.terminate(now, id),
                Stage::Serving { .. } => {
                    self.actions.push_back(Action::Drain(id));
                    self.leave(id);
                }
                Stage::Draining { .. } | Stage::Terminated { .. } | Stage::Killed => {}
            }
        }
    }
}
