//! `wocut drain`, `wocut ready` and `wocut maint`: what the operator wants of an instance.

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::Args;

use super::{Context, DryRun};
use crate::{
    host::Host,
    model::{Admin, Name},
    plan::Change,
    status::Status,
    sys::listeners,
};

#[derive(Args, Debug)]
struct Which {
    /// Name of the service
    name: Name,
    /// Name of the instance
    instance: Name,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Which {
    fn set(&self, context: &Context<'_>, admin: Admin) -> anyhow::Result<()> {
        let (name, instance) = (self.name.clone(), self.instance.clone());
        context.change(&self.dry_run, |_, _| Ok(Change::Admin(name, instance, admin)))
    }
}

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(50);

impl Which {
    /// Waits until the instance has no connection any more. No lock is held, and the state stays when this is
    /// interrupted.
    fn wait(&self, context: &Context<'_>, wait: Duration) -> anyhow::Result<()> {
        let Self { name, instance, .. } = self;
        let started = Instant::now();
        loop {
            let open = open_connections(&context.host, name, instance)?;
            if open == 0 {
                return Ok(());
            }
            if started.elapsed() >= wait {
                let wait = humantime::format_duration(wait);
                anyhow::bail!("{name}/{instance} is drained, but has {open} open connections after {wait}");
            }
            thread::sleep(LOOK);
        }
    }
}

/// An instance that was removed in the meantime has none that anybody could count.
fn open_connections(host: &Host, name: &Name, instance: &Name) -> anyhow::Result<u64> {
    let status = Status::read(host, Some(name))?;
    let mut instances = status.services.iter().flat_map(|service| &service.instances);
    let Some(found) = instances.find(|found| found.name == *instance) else { return Ok(0) };
    match found.active {
        Some(active) => Ok(active),
        // The iptables engine leads to the instance's own port, where the kernel's list of sockets has them all.
        None => Ok(listeners::open_connections(found.port)?.try_into()?),
    }
}

/// Give an instance no new connections; it keeps its open ones
#[derive(Args, Debug)]
pub(super) struct Drain {
    #[command(flatten)]
    which: Which,
    /// Return when the last connection has gone, or fail after this long: `30s`, `5m`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "dry_run")]
    wait: Option<Duration>,
}

/// Give an instance new connections again
#[derive(Args, Debug)]
pub(super) struct Ready {
    #[command(flatten)]
    which: Which,
}

/// As drain, and without checks
#[derive(Args, Debug)]
pub(super) struct Maint {
    #[command(flatten)]
    which: Which,
}

impl Drain {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        self.which.set(context, Admin::Drain)?;
        self.wait.map_or(Ok(()), |wait| self.which.wait(context, wait))
    }
}

impl Ready {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        self.which.set(context, Admin::Ready)
    }
}

impl Maint {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        self.which.set(context, Admin::Maint)
    }
}
