//! `wocut add` and `wocut remove`: the instances of a service.

use clap::Args;

use super::{Context, DryRun, leave::Leave};
use crate::{
    departure::Departure,
    model::{InstanceSpec, Name},
    verb::Verb,
};

/// Add instances to a service
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut add web 8004\n  wocut add web spare=127.0.0.1:8005*2")]
pub(super) struct Add {
    /// Name of the service
    name: Name,
    /// [NAME=][ADDR:]PORT[*WEIGHT]
    #[arg(required = true)]
    instance: Vec<InstanceSpec>,
    /// Go on in spite of conflicts
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Add {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        context.change(Verb::Add(self.name, self.instance), self.force, &self.dry_run)
    }
}

/// Remove instances from a service; their open connections stay, unless they are waited for or killed
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut remove web 8004\n  wocut remove web 8003 8004 --wait 30s")]
pub(super) struct Remove {
    /// Name of the service
    name: Name,
    /// Names of the instances
    #[arg(required = true)]
    instance: Vec<Name>,
    #[command(flatten)]
    pub(super) leave: Leave,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Remove {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let Self { name, instance, leave, dry_run } = self;
        if leave.is_asked() {
            return leave.run(context, &dry_run, &Departure::Remove(name, instance));
        }
        context.change(Verb::Remove(name, instance), false, &dry_run)
    }
}
