//! `wocut add` and `wocut remove`: the instances of a service.

use clap::Args;

use super::{
    Context, DryRun,
    leave::{Leave, Leaving},
};
use crate::{
    conflicts,
    host::Proposal,
    model::{InstanceSpec, Name},
    plan::Change,
};

/// Add instances to a service
#[derive(Args, Debug)]
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
        context.change(&self.dry_run, |host, wanted| {
            let change = Change::Add(self.name, self.instance);
            let mut draft = wanted.clone();
            change.clone().apply(&mut draft)?;
            let warnings = conflicts::check(host.netns(), wanted, &draft, context.ask(self.force))?;
            Ok(Proposal { change, warnings })
        })
    }
}

/// Remove instances from a service; their open connections stay, unless they are waited for or killed
#[derive(Args, Debug)]
pub(super) struct Remove {
    /// Name of the service
    name: Name,
    /// Names of the instances
    #[arg(required = true)]
    instance: Vec<Name>,
    #[command(flatten)]
    leave: Leave,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Remove {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let Self { name, instance, leave, dry_run } = self;
        let change = Change::Remove(name.clone(), instance.clone());
        if !leave.is_asked() {
            return context.change(&dry_run, |_, _| Ok(change));
        }
        let who = |wanted: &_| Leaving::instances(wanted, &name, &instance);
        leave.run(context, &dry_run, who, Leaving::drain, Some(change))
    }
}
