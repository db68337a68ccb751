//! `wocut detach NAME | --all`

use clap::Args;

use super::{
    Context, DryRun,
    leave::{Leave, Leaving},
};
use crate::{model::Name, plan::Change};

/// Take a service off its port; open connections stay, unless they are waited for or killed
#[derive(Args, Debug)]
pub(super) struct Detach {
    /// Name of the service
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    name: Option<Name>,
    /// All services
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    leave: Leave,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Detach {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let Self { name, leave, dry_run, .. } = self;
        let change = name.clone().map_or(Change::DetachAll, Change::Detach);
        if !leave.is_asked() {
            return context.change(&dry_run, |_, _| Ok(change));
        }
        let who = |wanted: &_| Leaving::services(wanted, name.as_ref());
        leave.run(context, &dry_run, who, Leaving::drain, Some(change))
    }
}
