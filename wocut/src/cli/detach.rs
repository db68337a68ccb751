//! `wocut detach NAME | --all`

use clap::Args;

use super::{Context, DryRun, leave::Leave};
use crate::{departure::Departure, model::Name, verb::Verb};

/// Take a service off its port; open connections stay, unless they are waited for or killed
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  wocut detach web
  wocut detach web --wait 5m --kill
  wocut detach --all")]
pub(super) struct Detach {
    /// Name of the service
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    name: Option<Name>,
    /// All services
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    pub(super) leave: Leave,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Detach {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let Self { name, leave, dry_run, .. } = self;
        if leave.is_asked() {
            return leave.run(context, &dry_run, &Departure::Detach(name));
        }
        context.change(name.map_or(Verb::DetachAll, Verb::Detach), false, &dry_run)
    }
}
