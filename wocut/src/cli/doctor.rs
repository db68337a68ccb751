//! `wocut doctor`: what this host can run, and what is missing.

use clap::Args;

use super::{
    Context,
    printer::{Align, Printer, Style, Table},
};
use crate::doctor::{self, Finding};

/// Say what this host can run, and which capability or kernel feature is missing
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut doctor\n  wocut doctor --netns blue --json")]
pub(super) struct Doctor {}

impl Doctor {
    #[expect(clippy::unused_self, reason = "every command is run the same way")]
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        show(context.printer, doctor::examine(&context.host))
    }
}

pub(super) fn show(printer: &Printer, findings: Vec<Finding>) -> anyhow::Result<()> {
    let works = doctor::any_engine(&findings);
    if printer.json() {
        printer.object(&serde_json::json!({ "schema": 1, "findings": findings }))?;
    } else {
        printer.table(&table(findings))?;
    }
    anyhow::ensure!(works, "no engine works here");
    Ok(())
}

fn table(findings: Vec<Finding>) -> Table {
    let mut table = Table::new(&[
        ("FEATURE", Align::Left),
        ("HERE", Align::Left),
        ("FOUND", Align::Left),
        ("WITHOUT IT", Align::Left),
    ]);
    for finding in findings {
        let (style, here) = match (finding.here, finding.matters) {
            (true, _) => (Style::Plain, "yes"),
            (false, true) => (Style::Bad, "no"),
            (false, false) => (Style::Off, "no"),
        };
        table.styled_row(style, [finding.feature.into(), here.into(), finding.found, finding.without.into()]);
    }
    table
}
