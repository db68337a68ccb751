//! `wocut drain`, `wocut ready` and `wocut maint`: what the operator wants of an instance.

use clap::Args;

use super::{Context, DryRun};
use crate::{
    model::{Admin, Name},
    plan::Change,
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
    fn set(self, context: &Context<'_>, admin: Admin) -> anyhow::Result<()> {
        context.change(&self.dry_run, |_, _| Ok(Change::Admin(self.name, self.instance, admin)))
    }
}

/// Give an instance no new connections; it keeps its open ones
#[derive(Args, Debug)]
pub(super) struct Drain {
    #[command(flatten)]
    which: Which,
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
        self.which.set(context, Admin::Drain)
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
