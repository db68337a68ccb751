//! Starts the daemon, and ends it.

use std::{path::PathBuf, sync::Mutex};

use anyhow::Context as _;
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{Event, Handle, alone::Alone, checks, drift, files::Files, log, systemd};
use crate::{
    config::{Problem, Refused},
    error::{conflicts, one_line},
    host::Host,
    model::EngineChoice,
    plan::Change,
};

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
    /// Whether services go with the daemon.
    pub detach_on_exit: bool,
    /// What is logged, as in `info`.
    pub log: String,
    /// How.
    pub log_format: log::Format,
}

/// Runs until it is told to stop.
pub fn serve(host: Host, options: Options) -> anyhow::Result<()> {
    let _level = log::Level::start(&options.log, options.log_format)?;
    let alone = Alone::claim(&host)?;
    let handle = Handle::new(host, options.state.clone())?;
    let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let result = runtime.block_on(run(&handle, options));
    drop(alone);
    result
}

async fn run(handle: &Handle, options: Options) -> anyhow::Result<()> {
    let Options { config, state, engine, force, detach_on_exit, .. } = options;
    let mut signals = Signals::new().context("wait for signals")?;
    let files = Files { config, state, engine, force, had: Mutex::default() };
    files.start(handle).await?;
    systemd::ready(handle.wanted().services.len());
    tokio::select! {
        stopped = signals.serve(handle, &files) => stopped?,
        drift = drift::watch(handle) => drift?,
        follow = drift::follow(handle) => follow?,
        checks = checks::run(handle) => checks?,
        never = systemd::watchdog() => match never {},
    }
    systemd::stopping();
    if detach_on_exit {
        handle.change("the end of the daemon", |_, _| Ok(Change::DetachAll)).await?;
    }
    Ok(())
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
    async fn serve(&mut self, handle: &Handle, files: &Files) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reload(handle, files).await,
                _ = self.terminate.recv() => return Ok(()),
                _ = self.interrupt.recv() => return Ok(()),
            }
        }
    }
}

async fn reload(handle: &Handle, files: &Files) {
    systemd::reloading();
    if let Err(error) = files.reload(handle).await {
        let refused = error.downcast_ref::<Refused>();
        log::warn(refused.into_iter().flat_map(|refused| &refused.problems).map(Problem::brief));
        log::warn(conflicts(&error));
        handle.tell(Event::Failed { what: "reload the configuration".into(), why: one_line(&error) });
    }
    systemd::ready(handle.wanted().services.len());
}
