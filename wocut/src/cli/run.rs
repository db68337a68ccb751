//! `wocut run NAME --listen LISTEN... -- COMMAND...`

use std::{cell::Cell, ffi::OsString, time::Duration};

use anyhow::Context as _;
use clap::Args;
use tokio::runtime::Builder;

use super::{Context, attach::Flags, duration::duration, printer::complain};
use crate::{
    cluster::place::{Lock, Place},
    deploy::{
        Patience, Pool,
        launch::Launch,
        ports::PortRange,
        run::{self, Run},
    },
    error::{Ended, Usage},
    model::{Check, Definition, Listen, Name},
};

/// Run a server in place of the one before, and lose no connection
///
/// COMMAND is started on a free port, which it is told as PORT in its environment and in the place of {port} in its
/// arguments. When it listens, and its check passes, it gets the new connections of NAME; those before it get none any
/// more, and are ended when their last connection is gone. If it does not come up, they serve on.
///
/// SIGHUP starts the next one from the same command line; other signals are passed on to COMMAND, whose exit code is
/// returned.
#[derive(Args, Debug)]
#[command(override_usage = "wocut run [OPTIONS] NAME --listen LISTEN... -- COMMAND...\n       \
                            wocut run --release NAME")]
#[command(after_long_help = "Examples:
  wocut run web --listen 80/tcp --check http:/healthz -- node server.js
  wocut run dns --listen 53/udp 53/tcp --grace 5s -- dnsd --port {port}
  wocut run --release web")]
pub(super) struct RunCommand {
    /// Name of the service
    name: Name,
    #[command(flatten)]
    deploy: Deploy,
    /// How long the last connections of an instance that leaves may take to end
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    grace: Duration,
    /// End what runs as NAME, and the service with it
    #[arg(long, conflicts_with_all = ["listen", "command"])]
    release: bool,
    /// Go on in spite of conflicts
    #[arg(short, long)]
    force: bool,
    /// What to run, and its arguments
    #[arg(last = true, required_unless_present = "release", value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How instances come and go.
#[derive(Args, Debug)]
pub(super) struct Deploy {
    /// Where the service takes connections
    #[arg(long, num_args = 1.., value_name = "LISTEN")]
    listen: Vec<Listen>,
    #[command(flatten)]
    options: Flags,
    /// Ports that instances are started on
    #[arg(long, default_value_t, value_name = "FIRST-LAST")]
    ports: PortRange,
    /// What an instance has to pass before it gets connections: `tcp`, `http[:PATH]` or `https[:PATH]`
    #[arg(long)]
    check: Option<Check>,
    /// Wait until an instance says `READY=1`, too, as with `sd_notify(3)`
    #[arg(long)]
    notify_ready: bool,
    /// How long an instance may take until it serves
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    ready_timeout: Duration,
    /// How long after its SIGTERM an instance is killed
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s")]
    kill_after: Duration,
}

impl Deploy {
    /// Fails where nothing is listened for.
    pub(super) fn has_listen(&self) -> anyhow::Result<()> {
        let missing =
            || Usage("`--listen` says where the service takes connections, as in `--listen 80/tcp`".into());
        if self.listen.is_empty() { Err(missing().into()) } else { Ok(()) }
    }

    /// What they ask for, for a service of that name, and from SIGTERM to SIGKILL.
    pub(super) fn parts(
        self,
        context: Context<'_>,
        name: Name,
        command: Vec<OsString>,
        force: bool,
    ) -> (Pool, Launch, Duration) {
        let Self { listen, options, ports, check, notify_ready, ready_timeout, kill_after } = self;
        let (ask, engine) = (context.ask(force), context.global.engine);
        let service = Definition {
            name,
            listen: listen.clone(),
            instances: Vec::new(),
            options: options.into(),
            engine,
            description: None,
            check: check.clone(),
        };
        let pool = Pool { host: context.host, service, engine, ask, ports, rehearsed: Cell::default() };
        let launch = Launch { command, listen, check, notify_ready, ready_timeout };
        (pool, launch, kill_after)
    }
}

impl RunCommand {
    pub(super) fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let Self { name, deploy, grace, release, force, command } = self;
        if !release {
            deploy.has_listen()?;
        }
        let quiet = context.global.quiet;
        // It would start again what this one ends.
        Lock::expect_none(&Place::new(context.host.netns().inode, name.clone()))?;
        let (pool, launch, kill_after) = deploy.parts(context, name, command, force);
        let patience = Patience { grace, kill_after };
        let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        if release {
            return runtime.block_on(run::release(pool, patience));
        }
        let say = if quiet { |_: &str| {} } else { complain };
        match runtime.block_on(run::run(Run { pool, launch, patience, say }))? {
            0 => Ok(()),
            code => Err(Ended(code).into()),
        }
    }
}
