//! `wocut detach NAME | --all`

use clap::Args;

use super::{Context, DryRun};
use crate::{model::Name, plan::Change};

/// Take a service off its port; open connections stay
#[derive(Args, Debug)]
pub(super) struct Detach {
    /// Name of the service
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    name: Option<Name>,
    /// All services
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Detach {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let change = self.name.map_or(Change::DetachAll, Change::Detach);
        context.change(&self.dry_run, |_, _| Ok(change))
    }
}
