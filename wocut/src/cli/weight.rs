//! `wocut weight NAME INSTANCE N`

use clap::Args;

use super::{Context, DryRun};
use crate::{
    model::{self, Name},
    verb::Verb,
};

/// Change an instance's share of the new connections
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut weight web canary 3")]
pub(super) struct Weight {
    /// Name of the service
    name: Name,
    /// Name of the instance
    instance: Name,
    /// 0 to 256; 0: no new connections, until it is changed or a file is applied (see `drain`)
    #[arg(allow_negative_numbers = true, value_name = "WEIGHT")]
    share: model::Weight,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Weight {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        context.change(Verb::Weight(self.name, self.instance, self.share), false, &self.dry_run)
    }
}
