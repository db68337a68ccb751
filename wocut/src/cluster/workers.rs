//! The processes of a cluster, by worker.

use std::{
    cell::RefCell, collections::BTreeMap, os::fd::OwnedFd, process::ExitStatus, rc::Rc, time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, getpgid, setpriority_pgrp};
use tokio::{
    process::Command,
    sync::{Notify as Flag, mpsc::UnboundedSender},
    task::{AbortHandle, spawn_local},
    time::{Instant, sleep_until},
};

use super::{
    machine::{Event, WorkerId},
    memory::{Delegated, Group, resident},
    output::Output,
    pin::Cpus,
    place::Place,
    state::{self, Known},
};
use crate::{
    deploy::{
        Pool,
        launch::{Launch, NotReady, Started},
        left_alone,
        notify::{Notify, Said},
    },
    error::one_line,
    model::{Admin, ProcessId},
    sys::pidfd::{Pidfd, lives, send},
};

/// A connection that does not end is waited for by the machine, which has a clock for it.
const LONG: Duration = Duration::from_hours(24 * 365);

/// How workers are started, beside their port.
#[derive(Debug)]
pub struct Outfit {
    /// Where their output goes.
    pub output: Output,
    /// Whether each has a CPU.
    pub cpus: Option<Cpus>,
    /// How often they have to say that they are alive.
    pub watchdog: Option<Duration>,
    /// How nice retired ones are.
    pub retire_nice: i32,
}

pub(super) struct Workers {
    pub(super) pool: Rc<Pool>,
    launch: Rc<Launch>,
    outfit: Outfit,
    place: Place,
    groups: Option<Delegated>,
    events: UnboundedSender<Event>,
    all: BTreeMap<WorkerId, Handle>,
    /// Workers that have ended and could not be taken out.
    left: Vec<(Known, bool)>,
    /// Groups in which something of an ended worker lived on.
    groups_left: Vec<Group>,
}

/// A worker that was started.
struct Handle {
    known: Known,
    pidfd: Option<Pidfd>,
    /// Whether it came into the service.
    entered: bool,
    group: Option<Group>,
    heard: Heard,
    tasks: Vec<AbortHandle>,
}

/// What is heard of a worker, by who listens to it and who waits for that. A copy is the same one.
#[derive(Clone, Default)]
struct Heard {
    status: Rc<RefCell<Option<String>>>,
    /// It says that it is ready.
    ready: Rc<Flag>,
    /// It came into the service: from then on it has to say that it is alive.
    serves: Rc<Flag>,
}

impl Heard {
    fn take(&self, said: Said) {
        if said.ready {
            self.ready.notify_one();
        }
        if said.status.is_some() {
            self.status.replace(said.status);
        }
    }
}

impl Workers {
    pub(super) fn new(
        pool: Pool,
        launch: Launch,
        outfit: Outfit,
        place: Place,
        groups: Option<Delegated>,
        events: UnboundedSender<Event>,
    ) -> Self {
        Self {
            pool: pool.into(),
            launch: launch.into(),
            outfit,
            place,
            groups,
            events,
            all: BTreeMap::new(),
            left: Vec::new(),
            groups_left: Vec::new(),
        }
    }

    /// Finds workers of earlier masters that are alive. Whatever is an instance of the service is one.
    pub(super) fn adopt(&mut self) -> anyhow::Result<Vec<Event>> {
        let wanted = self.pool.host.wanted()?;
        let service = wanted.services.get(self.pool.name());
        let instances = service.into_iter().flat_map(|service| &service.instances);
        let serving: BTreeMap<ProcessId, Admin> =
            instances.clone().filter_map(|instance| Some((instance.process?, instance.admin))).collect();
        let mut known = state::read(&self.place.state())?;
        let mut next = known.iter().map(|known| known.id.0).max().unwrap_or(0);
        for instance in instances {
            let Some(process) = instance.process else { continue };
            if !known.iter().any(|known| known.process == process) {
                next += 1;
                let spec = instance.spec.clone();
                known.push(Known { id: WorkerId(next), index: 0, generation: 0, process, spec });
            }
        }
        let mut found = Vec::new();
        for known in known.into_iter().filter(|known| lives(known.process)) {
            let Some(end) = Pidfd::of(known.process)? else { continue };
            let (id, index, generation) = (known.id, known.index, known.generation);
            let admin = serving.get(&known.process).copied();
            let events = self.events.clone();
            let ended = spawn_local(async move {
                let why =
                    end.ended().await.map_or_else(|error| error.to_string(), |()| "it has ended".into());
                let _over = events.send(Event::Exited { id, why });
            });
            let group = self.groups.as_ref().and_then(|groups| groups.find(&self.group_name(index, id)));
            let notify = Notify::bind(&self.place.notify(id)).context("listen to a worker")?;
            // Nobody told it of a watchdog, and it is about to be replaced.
            let heard = Heard::default();
            let hears = self.listen(id, notify, None, heard.clone());
            let (pidfd, tasks) = (Pidfd::of(known.process)?, vec![ended.abort_handle(), hears]);
            self.all.insert(id, Handle { known, pidfd, entered: admin.is_some(), group, heard, tasks });
            found.push(Event::Adopted { id, index, generation, serves: admin == Some(Admin::Ready) });
        }
        Ok(found)
    }

    pub(super) fn spawn(&mut self, id: WorkerId, index: u32, generation: u64) -> anyhow::Result<()> {
        let output = self.outfit.output.open(self.pool.name(), index)?;
        let notify = Notify::bind(&self.place.notify(id)).context("listen to a worker")?;
        let spec = self.pool.claim()?;
        let prepare = |command: &mut Command| self.prepare(command, index, &notify, output.as_ref());
        let start = || self.launch.start(spec.port, prepare, self.pool.note(&spec));
        let started = match &self.outfit.cpus {
            None => start(),
            Some(cpus) => cpus.on(index, start).context("give a worker its CPU").and_then(|started| started),
        };
        let started = started.inspect_err(|_| drop(self.pool.give_back(&spec)))?;
        let process = started.process;
        // Where there is none, `follow` sees to its group all the same.
        let pidfd = Pidfd::of(process).ok().flatten();
        let group = self.groups.as_ref().and_then(|groups| {
            let group = groups.make(&self.group_name(index, id)).ok()?;
            group.enter(process.pid).is_ok().then_some(group)
        });
        let heard = Heard::default();
        let listens = self.listen(id, notify, self.outfit.watchdog, heard.clone());
        let ready = Rc::clone(&heard.ready);
        let follows = spawn_local(follow(id, Rc::clone(&self.launch), started, ready, self.events.clone()));
        let known = Known { id, index, generation, process, spec };
        let tasks = vec![listens, follows.abort_handle()];
        self.all.insert(id, Handle { known, pidfd, entered: false, group, heard, tasks });
        self.write()
    }

    fn prepare(&self, command: &mut Command, index: u32, notify: &Notify, output: Option<&OwnedFd>) {
        command.env("WOCUT_WORKER", index.to_string());
        command.env("NOTIFY_SOCKET", notify.path()).env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        if let Some(watchdog) = self.outfit.watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        // Where descriptors have run out, it writes to where the master does.
        if let Some((out, err)) =
            output.and_then(|output| Some((output.try_clone().ok()?, output.try_clone().ok()?)))
        {
            command.stdout(out).stderr(err);
        }
    }

    fn group_name(&self, index: u32, id: WorkerId) -> String {
        format!("{}-{index}-{id}", self.pool.name())
    }

    fn listen(&self, id: WorkerId, notify: Notify, watchdog: Option<Duration>, heard: Heard) -> AbortHandle {
        spawn_local(listen(id, notify, watchdog, heard, self.events.clone())).abort_handle()
    }

    /// Brings a worker into the service; the one that it replaces gets no new connections from then on.
    pub(super) fn enter(
        &mut self,
        id: WorkerId,
        instead_of: Option<WorkerId>,
    ) -> anyhow::Result<Vec<String>> {
        let leaving: Vec<ProcessId> = instead_of.and_then(|old| self.process(old)).into_iter().collect();
        let handle = self.all.get_mut(&id).context("the worker is gone")?;
        let known = &handle.known;
        let (done, _) = self.pool.enter(&known.spec, known.process, Some(known.index), Some(&leaving))?;
        handle.entered = true;
        handle.heard.serves.notify_one();
        Ok(done.warnings)
    }

    /// They get no new connections any more.
    pub(super) fn drain(&self, ids: &[WorkerId]) -> anyhow::Result<()> {
        let leaving: Vec<ProcessId> = ids.iter().filter_map(|id| self.process(*id)).collect();
        if leaving.is_empty() { Ok(()) } else { self.pool.retire(&leaving).map(drop) }
    }

    /// Tells when the last connection of a worker is gone.
    pub(super) fn see_off(&mut self, id: WorkerId) {
        let (pool, events) = (Rc::clone(&self.pool), self.events.clone());
        let Some(handle) = self.all.get_mut(&id) else { return };
        let process = handle.known.process;
        let waits = spawn_local(async move {
            left_alone(&pool, process, Instant::now() + LONG).await;
            let _over = events.send(Event::NoConnections(id));
        });
        handle.tasks.push(waits.abort_handle());
    }

    /// What it started, and each of its threads, are in its process group.
    pub(super) fn renice(&self, id: WorkerId) -> anyhow::Result<()> {
        let Some(process) = self.process(id).filter(|process| lives(*process)) else { return Ok(()) };
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
        let own = pid.filter(|pid| getpgid(Some(*pid)).is_ok_and(|group| group == *pid));
        // No group is that of whoever asks.
        let Some(own) = own else { return Ok(()) };
        setpriority_pgrp(Some(own), self.outfit.retire_nice).context("renice a retired worker")
    }

    pub(super) fn signal(&self, id: WorkerId, signal: Signal) -> anyhow::Result<()> {
        let Some(process) = self.process(id) else { return Ok(()) };
        send(process, signal).with_context(|| format!("send a signal to process {process}"))
    }

    /// Nothing is left of it.
    pub(super) fn forget(&mut self, id: WorkerId) -> anyhow::Result<()> {
        let Some(handle) = self.all.remove(&id) else { return Ok(()) };
        handle.tasks.iter().for_each(AbortHandle::abort);
        if let Some(pidfd) = handle.pidfd {
            // It may have left nobody.
            let _gone = pidfd.kill_group();
        }
        // What it started may live on for a while, or for good.
        self.groups_left.extend(handle.group);
        self.groups_left.retain(|group| group.remove().is_err());
        self.left.push((handle.known, handle.entered));
        self.write()?;
        self.tidy()
    }

    /// Whether [`tidy`](Self::tidy) has something to do.
    pub(super) fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Takes out what is left of workers that have ended. What cannot be taken out now is kept for the next time.
    pub(super) fn tidy(&mut self) -> anyhow::Result<()> {
        while let Some((known, entered)) = self.left.last() {
            if *entered {
                self.pool.exit(&[known.process])?;
            } else {
                self.pool.give_back(&known.spec)?;
            }
            self.left.pop();
        }
        Ok(())
    }

    /// What workers use, in bytes.
    pub(super) fn memory(&self) -> Vec<(WorkerId, u64)> {
        let pids: Vec<u32> = self.all.values().map(|handle| handle.known.process.pid).collect();
        let grouped =
            self.all.values().map(|handle| handle.group.as_ref().and_then(|group| group.used().ok()));
        let grouped: Vec<Option<u64>> = grouped.collect();
        let read = if grouped.contains(&None) { resident(&pids) } else { vec![0; pids.len()] };
        let used = grouped.into_iter().zip(read).map(|(grouped, read)| grouped.unwrap_or(read));
        self.all.keys().copied().zip(used).collect()
    }

    pub(super) fn process(&self, id: WorkerId) -> Option<ProcessId> {
        self.all.get(&id).map(|handle| handle.known.process)
    }

    pub(super) fn port(&self, id: WorkerId) -> Option<u16> {
        self.all.get(&id).map(|handle| handle.known.spec.port)
    }

    pub(super) fn status(&self, id: WorkerId) -> Option<String> {
        self.all.get(&id)?.heard.status.borrow().clone()
    }

    fn write(&self) -> anyhow::Result<()> {
        state::write(&self.place.state(), self.all.values().map(|handle| handle.known.clone()).collect())
    }
}

/// Tells how a worker comes up, and how it ends.
async fn follow(
    id: WorkerId,
    launch: Rc<Launch>,
    mut started: Started,
    said_ready: Rc<Flag>,
    events: UnboundedSender<Event>,
) {
    let event = match launch.ready(&mut started, &said_ready).await {
        Ok(()) => Some(Event::Ready(id)),
        // That is told below.
        Err(NotReady::Ended(_)) => None,
        Err(why) => Some(Event::NotReady { id, why: one_line(&why.into()) }),
    };
    let _over = event.map(|event| events.send(event));
    let why = started.program.ended().await.map_or_else(|error| error.to_string(), words);
    let _over = events.send(Event::Exited { id, why });
}

fn words(status: ExitStatus) -> String {
    format!("it has ended by itself, with {status}")
}

/// Hears what a worker says of itself.
async fn listen(
    id: WorkerId,
    mut notify: Notify,
    watchdog: Option<Duration>,
    heard: Heard,
    events: UnboundedSender<Event>,
) {
    // How long one may take to come up is told by another clock.
    let mut until = None;
    loop {
        let missed = async move {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let (said, late) = tokio::select! {
            biased;
            said = notify.hear() => {
                let Ok(said) = said else { return };
                (said, false)
            }
            () = heard.serves.notified() => {
                until = watchdog.map(|watchdog| Instant::now() + watchdog);
                continue;
            }
            // The master may have been held up, and what it was told meanwhile was told in time.
            () = missed => (notify.waiting(), true),
        };
        let hangs = said.trigger || (late && !said.alive);
        let alive = said.alive;
        heard.take(said);
        if !alive && !hangs {
            continue;
        }
        until = until.and(watchdog).map(|watchdog| Instant::now() + watchdog);
        if hangs {
            let _over = events.send(Event::WatchdogMissed(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixDatagram, time::Duration};

    use tokio::{
        sync::mpsc::unbounded_channel,
        task::{LocalSet, spawn_local, yield_now},
        time::advance,
    };

    use super::{Event, Heard, Notify, WorkerId, listen};

    const WATCHDOG: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn what_was_told_to_a_master_that_was_held_up_was_told_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let notify = Notify::bind(&folder.path().join("notify")).unwrap();
        let worker = UnixDatagram::unbound().unwrap();
        worker.connect(notify.path()).unwrap();
        let (events, mut missed) = unbounded_channel();
        let heard = Heard::default();
        heard.serves.notify_one();
        let hold_up = async {
            drop(spawn_local(listen(WorkerId(1), notify, Some(WATCHDOG), heard, events)));
            yield_now().await;
            for _ in 0..20 {
                worker.send(b"WATCHDOG=1").unwrap();
                advance(2 * WATCHDOG).await;
                // Nobody is idle, so no time passes.
                for _ in 0..10 {
                    yield_now().await;
                }
                assert!(missed.try_recv().is_err());
            }
            assert!(matches!(missed.recv().await, Some(Event::WatchdogMissed(WorkerId(1)))));
        };
        LocalSet::new().run_until(hold_up).await;
    }
}
