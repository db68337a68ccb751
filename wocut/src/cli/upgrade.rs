//! `wocut upgrade`

use clap::Args;

use super::{Context, printer::Printer};
use crate::engine::ebpf::Running;

/// Swap the programs in the kernel for this version's; services, traffic and counters stay
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut upgrade")]
pub(super) struct Upgrade {}

impl Upgrade {
    #[expect(clippy::unused_self, reason = "every command is run the same way")]
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let (before, after, warnings) = context.host.upgrade()?;
        for warning in &warnings {
            context.printer.note(warning);
        }
        show(context.printer, &before, &after)
    }
}

pub(super) fn show(printer: &Printer, before: &[Running], after: &[Running]) -> anyhow::Result<()> {
    if printer.json() {
        let program = |program: &Running| {
            let old = before.iter().find(|old| old.name == program.name);
            serde_json::json!({
                "name": program.name,
                "id": program.id,
                "tag": format!("{:016x}", program.tag),
                "was": old.map(|old| serde_json::json!({ "id": old.id, "tag": format!("{:016x}", old.tag) })),
            })
        };
        let programs: Vec<_> = after.iter().map(program).collect();
        return printer.object(&serde_json::json!({ "schema": 1, "programs": programs }));
    }
    after.iter().try_for_each(|new| printer.said(&line(before, new)))
}

fn line(before: &[Running], new: &Running) -> String {
    let Running { name, id, .. } = new;
    match before.iter().find(|old| old.name == *name) {
        Some(old) if old.tag == new.tag => {
            format!("{name} is program {id}, was {}, with the same code", old.id)
        }
        Some(old) => format!("{name} is program {id}, was {}", old.id),
        None => format!("{name} is program {id}"),
    }
}
