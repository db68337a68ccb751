//! `wocut list`

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    printer::{Align, Printer, Table},
};
use crate::model::{EngineKind, Listen, Name, Policy, Wanted};

/// List the services
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut list\n  wocut list --json")]
pub(super) struct List {}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a Name,
    engine: EngineKind,
    listen: &'a [Listen],
    policy: Policy,
    instances: Vec<&'a Name>,
}

impl List {
    #[expect(clippy::unused_self, reason = "every command is run the same way")]
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        show(context.printer, &context.wanted()?)
    }
}

pub(super) fn show(printer: &Printer, wanted: &Wanted) -> anyhow::Result<()> {
    let services: Vec<Listed<'_>> = wanted
        .services
        .iter()
        .map(|(name, service)| Listed {
            name,
            engine: service.engine,
            listen: &service.listen,
            policy: service.options.policy,
            instances: service.instances.iter().map(|instance| &instance.spec.name).collect(),
        })
        .collect();
    if printer.json() {
        return printer.object(&serde_json::json!({ "schema": 1, "services": services }));
    }
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("ENGINE", Align::Left),
        ("LISTEN", Align::Left),
        ("POLICY", Align::Left),
        ("INSTANCES", Align::Left),
    ]);
    for service in services {
        let join = |words: Vec<String>| words.join(" ");
        table.row([
            service.name.to_string(),
            service.engine.to_string(),
            join(service.listen.iter().map(ToString::to_string).collect()),
            service.policy.to_string(),
            join(service.instances.iter().map(ToString::to_string).collect()),
        ]);
    }
    printer.table(&table)
}
