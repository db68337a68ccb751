//! Starts the daemon, and ends it.

use std::{path::PathBuf, sync::Mutex};

use anyhow::{Context as _, bail};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc::channel, watch},
};

use super::{Event, Handle, alone::Alone, checks, drift, files::Files, log, sights, slow_start};
use crate::{
    api,
    config::{Problem, Refused},
    engine::iptables::Iptables,
    error::{conflicts, one_line},
    host::Host,
    model::EngineChoice,
    plan::Change,
    sys::{bpf::lift_memory_limit, bpffs, capabilities, systemd},
};

/// What was seen of instances, and waits to be counted, at most.
const SIGHTS: usize = 4096;

/// How the daemon is run.
#[derive(Debug)]
pub struct Options {
    /// Files and directories as `wocut apply` takes them.
    pub config: Option<PathBuf>,
    /// The file that services outlive a boot in.
    pub state: Option<PathBuf>,
    /// What carries new services.
    pub engine: EngineChoice,
    /// Whether the configuration is applied in spite of conflicts.
    pub force: bool,
    /// Where the API is, and for whom.
    pub api: api::Options,
    /// Whether services go with the daemon.
    pub detach_on_exit: bool,
    /// What is logged, as in `info`.
    pub log: String,
    /// How.
    pub log_format: log::Format,
}

/// Runs until it is told to stop.
pub fn serve(host: Host, options: Options) -> anyhow::Result<()> {
    let level = log::Level::start(&options.log, options.log_format)?;
    let alone = Alone::claim(&host)?;
    let handle = Handle::new(host, options.state.clone())?;
    let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let result = runtime.block_on(run(&handle, level, options));
    drop(alone);
    result
}

async fn run(handle: &Handle, level: log::Level, options: Options) -> anyhow::Result<()> {
    let Options { config, state, engine, force, api, detach_on_exit, .. } = options;
    let mut signals = Signals::new().context("wait for signals")?;
    let files = Files { config, state, engine, force, had: Mutex::default() };
    // What is wrong with it is told before services are touched.
    let (at_work, ready) = watch::channel(false);
    let set_log = move |filter: &str| level.set(filter).map_err(|error| one_line(&error));
    let server = api::Server::bind(api, handle.clone(), ready, Box::new(set_log))?;
    let (stop, mut stopped) = watch::channel(false);
    let mut server = tokio::spawn(server.run(async move {
        // It goes with this function at the latest.
        let _stopped = stopped.wait_for(|stop| *stop).await;
    }));
    give_up_privileges();
    tokio::select! {
        started = files.start(handle) => started?,
        () = signals.ended() => return Ok(()),
    }
    at_work.send_replace(true);
    let attached = attached(handle.wanted().services.len());
    tracing::info!("ready, {attached}");
    systemd::ready(&attached);
    let (pass_on, seen) = channel(SIGHTS);
    tokio::select! {
        () = signals.serve(handle, &files) => {}
        drift = drift::watch(handle) => drift?,
        follow = drift::follow(handle) => follow?,
        checks = checks::run(handle, seen) => checks?,
        slow_start = slow_start::run(handle) => slow_start?,
        sights = sights::watch(handle, &pass_on) => sights?,
        ended = &mut server => {
            ended.context("serve the API")??;
            bail!("the API has ended by itself");
        }
        never = systemd::watchdog() => match never {},
    }
    systemd::stopping();
    stop.send_replace(true);
    server.await.context("end the API")??;
    if detach_on_exit {
        // The state file has what the next start is to attach.
        handle.look(|host| host.change(false, false, |_, _| Ok(Change::DetachAll))).await?;
        tracing::info!("detached all services");
    }
    Ok(())
}

/// Does what takes more than the daemon needs later, and keeps no more than that. Threads that are there by now would
/// keep everything.
fn give_up_privileges() {
    lift_memory_limit();
    // Where that does not work, the engine says so, if it is wanted.
    let _mounted = bpffs::ensure_mounted();
    let _loaded = Iptables::load_modules();
    if let Err(error) = capabilities::keep_daemons() {
        tracing::warn!("capabilities that are not needed are kept: {error}");
    }
}

/// What people and systemd send.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Reloads on `SIGHUP`; returns on what ends the daemon.
    async fn serve(&mut self, handle: &Handle, files: &Files) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reload(handle, files).await,
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
        }
    }

    /// Returns on what ends the daemon.
    async fn ended(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn reload(handle: &Handle, files: &Files) {
    systemd::reloading();
    if let Err(error) = files.reload(handle).await {
        let refused = error.downcast_ref::<Refused>();
        log::warn(refused.into_iter().flat_map(|refused| &refused.problems).map(Problem::brief));
        log::warn(conflicts(&error));
        let first = refused.and_then(|refused| refused.problems.first());
        let why =
            std::iter::once(one_line(&error)).chain(first.map(Problem::brief)).collect::<Vec<_>>().join(": ");
        handle.tell(Event::Failed { what: "reload the configuration".into(), why });
    }
    systemd::ready(&attached(handle.wanted().services.len()));
}

fn attached(services: usize) -> String {
    format!("{services} service{} attached", if services == 1 { "" } else { "s" })
}
