//! The master: feeds the machine, and does what it wants.

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use rustix::process::Signal;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::mpsc,
    task::{LocalSet, spawn_local, yield_now},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

pub use super::workers::Outfit;
use super::{
    control::{self, Answer, Asked, Request, Status, WorkerStatus},
    machine::{Action, Event, Machine, News, Stage, WorkerId},
    memory::Delegated,
    place::{HasMaster, Lock, Place},
    rules::Rules,
    workers::Workers,
};
use crate::{
    deploy::{Pool, launch::Launch, ports::NoPort},
    error::{Told, Usage, one_line},
    sys::{descriptors, systemd},
};

/// How often it is looked what workers use.
const MEASURE: Duration = Duration::from_secs(1);
/// What did not work is tried again so often.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a master may take to go that was asked to.
const HAND_OVER: Duration = Duration::from_secs(10);
/// Workers at most: a service has no more instances.
pub const MOST: usize = wocut_common::MAX_MEMBERS;
/// Requests that wait.
const REQUESTS: usize = 32;

/// What is kept, and how.
#[derive(Debug)]
pub struct Cluster {
    /// Its service.
    pub pool: Pool,
    /// How a worker is started.
    pub launch: Launch,
    /// What else it gets.
    pub outfit: Outfit,
    /// How many there are.
    pub workers: NonZeroU32,
    /// The rules.
    pub rules: Rules,
    /// Whether another master hands over.
    pub replace: bool,
    /// Is told what happens, a line each.
    pub say: fn(&str),
}

/// Runs until it is told to stop, or no worker comes up.
pub fn run(cluster: Cluster) -> anyhow::Result<()> {
    let place = Place::new(cluster.pool.host.netns().inode, cluster.pool.name().clone());
    cluster.outfit.output.probe()?;
    cluster.launch.expect_program()?;
    cluster.pool.expect_processes()?;
    let lock = match Lock::claim(&place) {
        Err(error) if cluster.replace && error.is::<HasMaster>() => {
            // As long as the other one has its workers.
            expect_start(&cluster)?;
            control::ask(&place, &Request::HandOver, |_| Ok(()))?;
            Lock::wait(&place, HAND_OVER)?
        }
        other => {
            let lock = other?;
            expect_start(&cluster)?;
            lock
        }
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let result = LocalSet::new().block_on(&runtime, keep(cluster, place));
    drop(lock);
    result
}

/// Fails where no worker could come into the service. Changes nothing.
fn expect_start(cluster: &Cluster) -> anyhow::Result<()> {
    let pool = &cluster.pool;
    pool.expect_room(places(cluster.workers))?;
    match pool.claim() {
        Ok(spec) => pool.give_back(&spec).map(drop),
        // Workers of an earlier master serve on, and a port is free when one of them ends.
        Err(error) if error.is::<NoPort>() && !pool.processes()?.is_empty() => Ok(()),
        Err(error) => Err(error),
    }
}

fn places(workers: NonZeroU32) -> usize {
    usize::try_from(workers.get()).unwrap_or(usize::MAX)
}

async fn keep(cluster: Cluster, place: Place) -> anyhow::Result<()> {
    let Cluster { pool, launch, outfit, workers: count, rules, say, .. } = cluster;
    // Each worker has some.
    if let Err(error) = descriptors::raise() {
        say(&format!("the limit of open files stays as it is: {error}"));
    }
    let mut signals = Signals::new().context("wait for signals")?;
    let measured = rules.memory.is_some() || rules.total.is_some();
    let groups = if measured { groups(&place, say) } else { None };
    let (events, mut told) = mpsc::unbounded_channel();
    let (requests, mut asked) = mpsc::channel(REQUESTS);
    place.sweep();
    let listener = control::bind(&place)?;
    spawn_local(control::serve(listener, requests));
    let workers = Workers::new(pool, launch, outfit, place.clone(), groups, events);
    let mut master = Master {
        machine: Machine::new(rules, count),
        workers,
        coming: VecDeque::new(),
        undrained: Vec::new(),
        waiting: Vec::new(),
        say,
        unready: false,
        ended: None,
    };
    for found in master.workers.adopt()? {
        master.handle(found);
    }
    master.handle(Event::Start);
    let mut measure = interval(MEASURE);
    measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watchdog = std::pin::pin!(systemd::watchdog());
    let gave_up = loop {
        if let Some(gave_up) = master.ended {
            break gave_up;
        }
        let deadline = master.machine.next_deadline();
        let due = async {
            match deadline {
                Some(deadline) => sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(event) = told.recv() => master.handle(event),
            Some(asked) = asked.recv() => {
                if asked.request == Request::HandOver {
                    asked.end(Answer::Done("handed over".into())).await;
                    say("another master takes over");
                    return Ok(());
                }
                master.asked(asked);
            }
            event = signals.next() => master.handle(event),
            _ = measure.tick(), if measured => {
                let used = master.workers.memory();
                master.handle(Event::Memory(used));
            }
            _ = again.tick(), if master.has_failed() => master.try_again(),
            never = &mut watchdog => match never {},
            () = due => master.pass(),
            // Whatever else there is has its turn first.
            () = yield_now(), if !master.coming.is_empty() => master.spawn(),
        }
    };
    if master.has_failed() {
        master.try_again();
    }
    let why = if gave_up { "every worker failed too often" } else { "the cluster was stopped" };
    for (_, asked) in std::mem::take(&mut master.waiting) {
        let stopped = asked.request == Request::Stop && !gave_up;
        asked
            .end(if stopped { Answer::Done(format!("stopped {}", place.name())) } else { failed(why) })
            .await;
    }
    for path in [place.socket(), place.state()] {
        // One that is left behind is replaced.
        let _left = std::fs::remove_file(path);
    }
    if gave_up {
        bail!(why);
    }
    Ok(())
}

/// Cgroups for workers, where there can be some.
fn groups(place: &Place, say: fn(&str)) -> Option<Delegated> {
    let claimed = Delegated::claim(&format!("{}-master", place.name()));
    claimed.inspect_err(|error| say(&format!("memory is that of processes: {}", one_line(error)))).ok()
}

/// A worker that is to be started.
struct Coming {
    id: WorkerId,
    index: u32,
    generation: u64,
}

struct Master {
    machine: Machine,
    workers: Workers,
    /// Those who are to be started: one at a time, because many take a while.
    coming: VecDeque<Coming>,
    /// Those who are to get no new connections, and do.
    undrained: Vec<WorkerId>,
    /// Who waits for the end of something, and of which generation.
    waiting: Vec<(u64, Asked)>,
    say: fn(&str),
    /// systemd is to be told that something serves, as soon as that is so.
    unready: bool,
    /// How it ended.
    ended: Option<bool>,
}

impl Master {
    fn handle(&mut self, event: Event) {
        let event = match event {
            Event::Ready(id) => self.enter(id),
            other => other,
        };
        if event == Event::Stop {
            systemd::stopping();
        }
        self.machine.handle(Instant::now().into(), event);
        self.act();
    }

    fn pass(&mut self) {
        self.machine.pass(Instant::now().into());
        self.act();
    }

    /// Brings a worker into the service before the machine counts on it: one that cannot come in has failed, and the one
    /// that it was to replace serves on.
    fn enter(&mut self, id: WorkerId) -> Event {
        let Some(instead_of) = self.machine.replaces(id) else { return Event::Ready(id) };
        match self.workers.enter(id, instead_of) {
            Ok(warnings) => {
                for warning in &warnings {
                    self.say(warning);
                }
                Event::Ready(id)
            }
            Err(error) => Event::NotReady { id, why: one_line(&error) },
        }
    }

    fn act(&mut self) {
        loop {
            let actions: Vec<Action> = std::iter::from_fn(|| self.machine.poll_action()).collect();
            if actions.is_empty() {
                return self.ready();
            }
            // In one step: each one waits for picks that are under way.
            let before = self.undrained.len();
            self.undrained.extend(actions.iter().filter_map(|action| match action {
                Action::Drain(id) => Some(*id),
                _ => None,
            }));
            if self.undrained.len() > before {
                self.drain();
            }
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    fn ready(&mut self) {
        let serving = self.machine.serving();
        if self.unready && serving > 0 {
            systemd::ready(&format!("{serving} workers serve"));
            self.unready = false;
        }
    }

    /// Who cannot be drained goes on as before: to end it would refuse clients.
    fn drain(&mut self) {
        if let Err(error) = self.workers.drain(&self.undrained) {
            self.complain("drain workers", Err(error));
            return;
        }
        let now = Instant::now().into();
        for id in std::mem::take(&mut self.undrained) {
            self.workers.see_off(id);
            self.machine.handle(now, Event::Drained(id));
        }
    }

    fn has_failed(&self) -> bool {
        !self.undrained.is_empty() || self.workers.has_left()
    }

    fn try_again(&mut self) {
        if !self.undrained.is_empty() {
            self.drain();
        }
        let done = self.workers.tidy();
        self.complain("clean up after a worker", done);
        self.act();
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Spawn { id, index, generation } => {
                self.coming.push_back(Coming { id, index, generation });
            }
            Action::Serve { id, instead_of } => {
                let (port, process) = (self.workers.port(id), self.workers.process(id));
                if let (Some(port), Some(process)) = (port, process) {
                    self.say(&format!("{}: {port} serves, as process {process}", self.workers.pool.name()));
                }
                if let Some(old) = instead_of {
                    self.workers.see_off(old);
                }
            }
            // See `drain`.
            Action::Drain(_) => {}
            Action::Renice(id) => {
                let done = self.workers.renice(id);
                self.complain("make a retired worker nice", done);
            }
            Action::Terminate(id) | Action::Kill(id) if self.is_coming(id) => {
                self.coming.retain(|coming| coming.id != id);
                let why = "it was not started".into();
                self.machine.handle(Instant::now().into(), Event::Exited { id, why });
            }
            Action::Terminate(id) => {
                let done = self.workers.signal(id, Signal::TERM);
                self.complain("end a worker", done);
            }
            Action::Kill(id) => {
                let done = self.workers.signal(id, Signal::KILL);
                self.complain("kill a worker", done);
            }
            Action::Forget(id) => {
                let done = self.workers.forget(id);
                self.complain("clean up after a worker", done);
            }
            Action::Tell(news) => self.tell(&news),
            Action::Finished { gave_up } => self.ended = Some(gave_up),
        }
    }

    fn is_coming(&self, id: WorkerId) -> bool {
        self.coming.iter().any(|coming| coming.id == id)
    }

    /// Starts the next one of those who are to come.
    fn spawn(&mut self) {
        let Some(Coming { id, index, generation }) = self.coming.pop_front() else { return };
        if let Err(error) = self.workers.spawn(id, index, generation) {
            // It may have been started, and its list not been written.
            let _gone = self.workers.signal(id, Signal::KILL);
            let why = one_line(&error);
            self.machine.handle(Instant::now().into(), Event::Exited { id, why });
            self.act();
        }
    }

    fn tell(&mut self, news: &News) {
        self.say(&format!("{}: {news}", self.workers.pool.name()));
        match news {
            News::Reloading { .. } => systemd::reloading(),
            News::Reloaded { .. } | News::ReloadStopped { .. } | News::Scaled { .. } => {
                self.unready = true;
            }
            News::Again { .. } | News::GaveUp { .. } | News::Retiring { .. } => {}
        }
        let mut waiting = Vec::new();
        for (generation, asked) in std::mem::take(&mut self.waiting) {
            let last = match (&asked.request, news) {
                (Request::Reload, News::Reloaded { generation: now }) if *now >= generation => {
                    Some(Answer::Done(news.to_string()))
                }
                (Request::Reload, News::ReloadStopped { generation: now, .. }) if *now >= generation => {
                    Some(failed(&news.to_string()))
                }
                (Request::Scale { workers }, News::Scaled { serving, wanted })
                    if workers.get() == *wanted =>
                {
                    let all = u32::try_from(*serving).is_ok_and(|serving| serving == *wanted);
                    Some(if all { Answer::Done(news.to_string()) } else { failed(&news.to_string()) })
                }
                (Request::Scale { .. }, News::Scaled { .. }) => {
                    Some(failed("somebody asked for another number"))
                }
                _ => None,
            };
            if let Some(last) = last {
                spawn_local(asked.end(last));
            } else {
                asked.answer(Answer::News(news.to_string()));
                waiting.push((generation, asked));
            }
        }
        self.waiting = waiting;
    }

    fn asked(&mut self, asked: Asked) {
        let event = match &asked.request {
            Request::Status => {
                let used = self.workers.memory();
                self.handle(Event::Memory(used));
                let status = self.status();
                spawn_local(asked.end(Answer::Status(status)));
                return;
            }
            Request::Reload => Event::Reload,
            Request::Scale { workers } => match self.expect_room(*workers) {
                Ok(()) => Event::Scale(*workers),
                Err(error) => {
                    spawn_local(asked.end(Answer::Error(Told::of(&error))));
                    return;
                }
            },
            Request::Stop => Event::Stop,
            Request::HandOver => return,
        };
        // One that is under way may have begun before what is to be loaded was there.
        self.waiting.push((self.machine.generation() + 1, asked));
        self.handle(event);
    }

    fn expect_room(&self, workers: NonZeroU32) -> anyhow::Result<()> {
        if places(workers) > MOST {
            bail!(Usage(format!("a cluster has at most {MOST} workers")));
        }
        self.workers.pool.expect_room(places(workers))
    }

    fn status(&self) -> Status {
        let machine = &self.machine;
        let mut workers: Vec<WorkerStatus> = machine
            .workers()
            .map(|(id, worker)| WorkerStatus {
                index: worker.index,
                id: id.0,
                generation: worker.generation,
                pid: self.workers.process(id).map_or(0, |process| process.pid),
                port: self.workers.port(id).unwrap_or(0),
                state: stage(worker.stage).into(),
                memory: worker.memory,
                cause: worker.cause(),
                status: self.workers.status(id),
            })
            .collect();
        workers.sort_by_key(|worker| (worker.index, worker.id));
        Status {
            name: self.workers.pool.name().to_string(),
            master: std::process::id(),
            wanted: machine.wanted(),
            serving: machine.serving(),
            generation: machine.generation(),
            reloading: machine.is_reloading(),
            workers,
        }
    }

    fn complain(&self, what: &str, done: anyhow::Result<()>) {
        if let Err(error) = done {
            self.say(&format!("cannot {what}: {}", one_line(&error)));
        }
    }

    fn say(&self, line: &str) {
        (self.say)(line);
    }
}

fn failed(why: &str) -> Answer {
    Answer::Error(Told::of(&anyhow!("{why}")))
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Starting => "starting",
        Stage::Serving { .. } => "serving",
        Stage::Draining { .. } => "draining",
        Stage::Terminated { .. } => "terminated",
        Stage::Killed => "killed",
    }
}

/// What people and systemd send.
struct Signals {
    hangup: unix::Signal,
    user: unix::Signal,
    terminate: unix::Signal,
    interrupt: unix::Signal,
    quit: unix::Signal,
    /// Means nothing here, and would end the process.
    user_2: unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Event {
        loop {
            return tokio::select! {
                _ = self.hangup.recv() => Event::Reload,
                _ = self.user.recv() => Event::KillRetired,
                _ = self.terminate.recv() => Event::Stop,
                _ = self.interrupt.recv() => Event::Stop,
                _ = self.quit.recv() => Event::Stop,
                _ = self.user_2.recv() => continue,
            };
        }
    }
}
