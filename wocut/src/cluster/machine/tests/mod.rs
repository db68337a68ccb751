//! What the machine wants done is compared as text: `spawn 5@0` is worker 5 with index 0.

mod limits;
mod random;
mod reload;
mod restart;
mod scale;

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::{Action, Event, Machine, WorkerId};
use crate::cluster::rules::Rules;

struct Cluster {
    machine: Machine,
    now: Instant,
    news: Vec<String>,
    /// Nobody can be drained.
    held: bool,
}

impl Cluster {
    fn new(rules: Rules, workers: u32) -> Self {
        let workers = NonZeroU32::new(workers).unwrap();
        Self { machine: Machine::new(rules, workers), now: Instant::now(), news: Vec::new(), held: false }
    }

    /// One whose workers 1 to N serve, and have for a while.
    fn steady(rules: Rules, workers: u32) -> Self {
        let mut cluster = Self::new(rules, workers);
        cluster.tell(Event::Start);
        for id in 1..=workers.into() {
            cluster.tell(Event::Ready(WorkerId(id)));
        }
        cluster.after(Duration::from_secs(61));
        assert_eq!(cluster.news(), format!("{workers} of {workers} workers serve"));
        cluster
    }

    fn tell(&mut self, event: Event) -> String {
        self.machine.handle(self.now, event);
        self.wanted()
    }

    fn after(&mut self, time: Duration) -> String {
        self.now += time;
        self.machine.pass(self.now);
        self.wanted()
    }

    /// Until the machine has something to do by itself.
    fn wait(&mut self) -> String {
        let deadline = self.machine.next_deadline().unwrap();
        assert!(deadline > self.now);
        self.after(deadline - self.now)
    }

    fn ready(&mut self, id: u64) -> String {
        self.tell(Event::Ready(WorkerId(id)))
    }

    fn exited(&mut self, id: u64) -> String {
        self.tell(Event::Exited { id: WorkerId(id), why: "exit 1".into() })
    }

    fn not_ready(&mut self, id: u64) -> String {
        self.tell(Event::NotReady { id: WorkerId(id), why: "it does not listen".into() })
    }

    fn memory(&mut self, used: &[(u64, u64)]) -> String {
        self.tell(Event::Memory(used.iter().map(|(id, bytes)| (WorkerId(*id), *bytes)).collect()))
    }

    fn hangs(&mut self, id: u64) -> String {
        self.tell(Event::WatchdogMissed(WorkerId(id)))
    }

    fn unconnected(&mut self, id: u64) -> String {
        self.tell(Event::NoConnections(WorkerId(id)))
    }

    fn scale(&mut self, workers: u32) -> String {
        self.tell(Event::Scale(NonZeroU32::new(workers).unwrap()))
    }

    fn adopt(&mut self, id: u64, index: u32, serves: bool) -> String {
        self.tell(Event::Adopted { id: WorkerId(id), index, generation: 7, serves })
    }

    /// All news since this was asked last.
    fn news(&mut self) -> String {
        std::mem::take(&mut self.news).join("; ")
    }

    fn wanted(&mut self) -> String {
        let mut wanted = Vec::new();
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Tell(news) => self.news.push(news.to_string()),
                Action::Spawn { id, index, .. } => wanted.push(format!("spawn {id}@{index}")),
                Action::Serve { id, instead_of: None } => wanted.push(format!("serve {id}")),
                Action::Serve { id, instead_of: Some(old) } => wanted.push(format!("serve {id} for {old}")),
                Action::Drain(id) => {
                    wanted.push(format!("drain {id}"));
                    if !self.held {
                        self.machine.handle(self.now, Event::Drained(id));
                    }
                }
                Action::Renice(id) => wanted.push(format!("renice {id}")),
                Action::Terminate(id) => wanted.push(format!("term {id}")),
                Action::Kill(id) => wanted.push(format!("kill {id}")),
                Action::Forget(id) => wanted.push(format!("forget {id}")),
                Action::Finished { gave_up: false } => wanted.push("finished".into()),
                Action::Finished { gave_up: true } => wanted.push("gave up".into()),
            }
        }
        wanted.join(", ")
    }
}
