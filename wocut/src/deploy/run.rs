//! One program at a time: the next generation takes the new connections, the last one keeps its own until they end.

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn, ready},
    io,
    path::PathBuf,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::{
    process::Command,
    signal::unix::{self, SignalKind},
    sync::Notify,
    task::{JoinSet, LocalSet},
    time::sleep,
};

use super::{
    Patience, Pool, Program,
    launch::{Launch, code},
    notify, see_off,
};
use crate::{
    error::{NotAttached, one_line},
    model::ProcessId,
    sys::{
        pidfd::{lives, send},
        systemd,
    },
};

/// What did not work is tried again so often.
const AGAIN: Duration = Duration::from_secs(1);

/// What is run, and how it is replaced.
#[derive(Debug)]
pub struct Run {
    /// Its service.
    pub pool: Pool,
    /// How an instance is started.
    pub launch: Launch,
    /// How long those before it may take to end.
    pub patience: Patience,
    /// Is told what happens, a line each.
    pub say: fn(&str),
}

/// Runs until the program has ended, and returns its exit code.
pub async fn run(run: Run) -> anyhow::Result<u8> {
    let mut signals = Signals::listen().context("wait for signals")?;
    let state = run.pool.host.state_path();
    if let (Some(folder), Some(name)) = (state.parent(), state.file_stem()) {
        notify::sweep(folder, &format!("{}.", name.to_string_lossy()));
    }
    let runner = Runner {
        run: run.into(),
        leavers: Vec::new(),
        leaving: JoinSet::new(),
        hurry: Rc::default(),
        again: false,
    };
    LocalSet::new().run_until(runner.run(&mut signals)).await
}

/// Ends what is run under a name, and its service.
pub async fn release(pool: Pool, patience: Patience) -> anyhow::Result<()> {
    pool.expect_processes()?;
    if !pool.host.wanted()?.services.contains_key(pool.name()) {
        bail!(NotAttached(format!("nothing runs as {}", pool.name())));
    }
    pool.exit(&[])?;
    let processes = pool.processes()?;
    pool.retire(&processes)?;
    // All at once: one after the other could take as many times as long.
    let pool = Rc::new(pool);
    let end = |process| {
        let pool = Rc::clone(&pool);
        async move { see_off(&pool, process, patience).await }
    };
    let mut leaving: JoinSet<_> = JoinSet::new();
    LocalSet::new()
        .run_until(async {
            for process in processes {
                drop(leaving.spawn_local(end(process)));
            }
            while let Some(ended) = leaving.join_next().await {
                ended.context("see a process off")??;
            }
            Ok(())
        })
        .await
}

struct Runner {
    run: Rc<Run>,
    /// Those who are being seen off, and what does that.
    leavers: Vec<ProcessId>,
    leaving: JoinSet<()>,
    /// Their connections are waited for no longer.
    hurry: Rc<Notify>,
    /// The next generation was asked for while one came up.
    again: bool,
}

/// A generation that has come up, or what ended it before it had.
enum Next {
    Serves(Box<Current>),
    Ended(u8),
}

/// The generation that gets new connections.
struct Current {
    program: Program,
    process: ProcessId,
    heard: Heard,
}

/// Passes on what a generation says of itself.
struct Heard {
    words: Rc<Words>,
    _hearing: JoinSet<()>,
}

/// What a generation has said of itself.
#[derive(Default)]
struct Words {
    /// The next one has taken its place: what it says is read, and goes no further.
    unheard: Cell<bool>,
    status: RefCell<Option<String>>,
}

impl Runner {
    async fn run(mut self, signals: &mut Signals) -> anyhow::Result<u8> {
        let mut current = match self.next(signals, None).await? {
            Next::Serves(first) => *first,
            Next::Ended(code) => return Ok(code),
        };
        self.serving(&current);
        let ended = loop {
            let signal = tokio::select! {
                ended = current.program.ended() => break ended.context("wait for the program")?,
                signal = signals.next(), if !self.again => signal,
                () = ready(()), if self.again => Signal::HUP,
            };
            self.again = false;
            if signal != Signal::HUP {
                self.pass_on(signal, current.process);
                continue;
            }
            systemd::reloading();
            match self.next(signals, Some(&mut current)).await {
                Ok(Next::Serves(next)) => {
                    let before = std::mem::replace(&mut current, *next);
                    before.heard.words.unheard.set(true);
                    self.see_off(before.process, Some((before.program, before.heard)));
                }
                Ok(Next::Ended(_)) => {}
                Err(error) if !current.program.is_over() => {
                    self.say(&format!("{}: the one before it serves on", one_line(&error)));
                }
                Err(error) => self.say(&one_line(&error)),
            }
            self.serving(&current);
        };
        systemd::stopping();
        self.take_out(current.process);
        loop {
            tokio::select! {
                one = self.leaving.join_next() => if one.is_none() { return Ok(code(ended)) },
                signal = signals.next() => self.pass_on(signal, current.process),
            }
        }
    }

    /// Starts a generation and brings it into the service, in the place of all before it. Signals that come meanwhile
    /// go to the one that serves; where none does, to this one.
    async fn next(
        &mut self,
        signals: &mut Signals,
        mut current: Option<&mut Current>,
    ) -> anyhow::Result<Next> {
        let run = Rc::clone(&self.run);
        let Run { pool, launch, patience, .. } = &*run;
        let name = pool.name();
        let spec = pool.claim()?;
        let begin = || {
            let listens = launch.notify_ready || systemd::listens();
            let notify = listens.then(|| notify::Notify::bind(&self.notify_path(spec.port))).transpose()?;
            let told = |command: &mut Command| {
                if let Some(notify) = &notify {
                    command.env("NOTIFY_SOCKET", notify.path()).env_remove("WATCHDOG_PID");
                }
            };
            Ok((launch.start(spec.port, told, pool.note(&spec))?, notify))
        };
        let begun: anyhow::Result<_> = begin();
        let (mut started, notify) = begun.inspect_err(|_| drop(pool.give_back(&spec)))?;
        let (said, words) = (Rc::new(Notify::new()), Rc::new(Words::default()));
        let mut hearing = JoinSet::new();
        if let Some(notify) = notify {
            hearing.spawn_local(hear(notify, Rc::clone(&said), Rc::clone(&words)));
        }
        loop {
            tokio::select! {
                ready = launch.ready(&mut started, &said) => match ready {
                    Ok(()) => break,
                    Err(why) => {
                        started.end(patience.kill_after).await;
                        pool.give_back(&spec)?;
                        let what = format!("{name}: the program does not serve on port {spec}");
                        return Err(anyhow::Error::new(why).context(what));
                    }
                },
                ended = ended(&mut current) => {
                    current = None;
                    // Whoever sees it off tries again.
                    if let Err(error) = pool.exit(&[ended]) {
                        self.say(&format!("process {ended} is still an instance: {}", one_line(&error)));
                    }
                }
                signal = signals.next() => {
                    if signal == Signal::HUP {
                        self.again = true;
                        continue;
                    }
                    self.pass_on(signal, current.as_ref().map_or(started.process, |current| current.process));
                    if ends(signal) {
                        let code = started.end(patience.kill_after).await;
                        pool.give_back(&spec)?;
                        return Ok(Next::Ended(code));
                    }
                }
            }
        }
        let (done, before) = match pool.enter(&spec, started.process, None, None) {
            Ok(entered) => entered,
            Err(error) => {
                started.end(patience.kill_after).await;
                pool.give_back(&spec)?;
                return Err(error);
            }
        };
        done.notes.iter().chain(&done.warnings).for_each(|line| self.say(line));
        self.say(&format!("{name}: {spec} serves, as process {}", started.process));
        let own = current.map(|current| current.process);
        for other in before {
            if Some(other) != own && !self.leavers.contains(&other) {
                self.see_off(other, None);
            }
        }
        let heard = Heard { words, _hearing: hearing };
        let current = Current { program: started.program, process: started.process, heard };
        Ok(Next::Serves(current.into()))
    }

    /// Where a program says how it is.
    fn notify_path(&self, port: u16) -> PathBuf {
        self.run.pool.host.state_path().with_extension(format!("{port}.notify"))
    }

    /// Sees to the end of one that gets no new connections.
    fn see_off(&mut self, process: ProcessId, program: Option<(Program, Heard)>) {
        self.leavers.push(process);
        let (run, hurry) = (Rc::clone(&self.run), Rc::clone(&self.hurry));
        self.leaving.spawn_local(async move {
            let now = Patience { grace: Duration::ZERO, ..run.patience };
            let seen_off = tokio::select! {
                done = see_off(&run.pool, process, run.patience) => done,
                () = hurry.notified() => see_off(&run.pool, process, now).await,
            };
            if let Err(error) = seen_off {
                (run.say)(&format!("process {process} was not seen off: {}", one_line(&error)));
                if !lives(process) {
                    take_out(&run, &hurry, process).await;
                }
            }
            if let Some((mut program, _heard)) = program {
                // It is reaped. Until then it finds its socket.
                let _status = program.ended().await;
            }
        });
    }

    /// It has ended: nobody is to be led to it.
    fn take_out(&mut self, process: ProcessId) {
        let (run, hurry) = (Rc::clone(&self.run), Rc::clone(&self.hurry));
        self.leaving.spawn_local(async move { take_out(&run, &hurry, process).await });
    }

    /// Sends a signal to the program. After one that ends it, connections of those before it are not waited for.
    fn pass_on(&self, signal: Signal, process: ProcessId) {
        if ends(signal) {
            self.hurry.notify_waiters();
        }
        if let Err(error) = send(process, signal) {
            self.say(&format!("process {process} was not sent a signal: {error}"));
        }
    }

    fn serving(&self, current: &Current) {
        let own = current.heard.words.status.borrow().clone();
        let status = || format!("{} is process {}", self.run.pool.name(), current.process);
        systemd::ready(&own.unwrap_or_else(status));
    }

    fn say(&self, line: &str) {
        (self.run.say)(line);
    }
}

/// Takes a process that has ended out of its service. Where that does not work, as while somebody else changes rules, it
/// is tried again, until there is a hurry: then the next command of the name does it.
async fn take_out(run: &Run, hurry: &Notify, process: ProcessId) {
    while let Err(error) = run.pool.exit(&[process]) {
        (run.say)(&format!("process {process} is still an instance: {}", one_line(&error)));
        tokio::select! {
            () = sleep(AGAIN) => {}
            () = hurry.notified() => return,
        }
    }
}

/// Passes on to systemd how a program is. That it is ready, systemd is told when it has its first connections to come.
async fn hear(mut notify: notify::Notify, ready: Rc<Notify>, words: Rc<Words>) {
    while let Ok(said) = notify.hear().await {
        if words.unheard.get() {
            continue;
        }
        if said.ready {
            ready.notify_one();
        }
        if let Some(status) = &said.status {
            systemd::status(status);
            words.status.replace(Some(status.clone()));
        }
        if said.alive {
            systemd::alive();
        }
    }
}

/// Whether a signal is meant to end a program.
fn ends(signal: Signal) -> bool {
    matches!(signal, Signal::TERM | Signal::INT | Signal::QUIT)
}

/// Waits for the end of the generation that serves, if one does.
async fn ended(current: &mut Option<&mut Current>) -> ProcessId {
    match current {
        None => pending().await,
        Some(current) => {
            let _status = current.program.ended().await;
            current.process
        }
    }
}

/// Signals that are passed on, and the one that starts the next generation.
struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    fn listen() -> io::Result<Self> {
        let all = [Signal::HUP, Signal::TERM, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2];
        let listen = |kind: Signal| Ok((kind, unix::signal(SignalKind::from_raw(kind.as_raw()))?));
        all.into_iter().map(listen).collect::<io::Result<_>>().map(Self)
    }

    async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let mut all = self.0.iter_mut();
            let came = all.find_map(|(kind, came)| came.poll_recv(context).is_ready().then_some(*kind));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
