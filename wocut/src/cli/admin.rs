//! `wocut drain`, `wocut ready` and `wocut maint`: what the operator wants of an instance.

use clap::Args;

use super::{Context, DryRun, leave::Leave};
use crate::{
    departure::Departure,
    model::{Admin, Name},
    verb::Verb,
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
        context.change(Verb::Admin(self.name, self.instance, admin), false, &self.dry_run)
    }
}

/// Give an instance no new connections; it keeps its open ones, unless they are waited for or killed
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  wocut drain web 8001
  wocut drain web 8001 --wait 30s --kill && systemctl restart web@8001")]
pub(super) struct Drain {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    pub(super) leave: Leave,
}

/// Give an instance new connections again
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut ready web 8001")]
pub(super) struct Ready {
    #[command(flatten)]
    which: Which,
}

/// As drain, and without checks
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut maint web 8001")]
pub(super) struct Maint {
    #[command(flatten)]
    which: Which,
}

impl Drain {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let Self { which, leave } = self;
        if !leave.is_asked() {
            return which.set(context, Admin::Drain);
        }
        let Which { name, instance, dry_run } = which;
        leave.run(context, &dry_run, &Departure::Drain(name, instance))
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
