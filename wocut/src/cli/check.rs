//! `wocut check FILE...`

use std::path::PathBuf;

use clap::Args;

use super::{Context, printer::Printer};
use crate::config::Config;

/// Say whether files make sense, and change nothing
///
/// FILE is TOML, or NAME.wocut of the original wocut, or a directory of such files, or `-` for standard input.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut check /etc/wocut\n  wocut export | wocut check -")]
pub(super) struct Check {
    /// What `apply` would be given
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        show(context.printer, Config::read(&self.files))
    }
}

pub(super) fn show(printer: &Printer, config: Config) -> anyhow::Result<()> {
    if printer.json() {
        printer.object(&serde_json::json!({
            "schema": 1, "files": config.files, "warnings": config.warnings,
        }))?;
    } else {
        config.warnings.iter().for_each(|warning| printer.note(&format!("warning: {warning}")));
        for file in config.files.iter().filter(|file| file.errors == 0) {
            let services =
                if file.services == 1 { "1 service" } else { &format!("{} services", file.services) };
            printer.said(&format!("{}: ok, {services}", file.file))?;
        }
    }
    config.sound()?;
    Ok(())
}
