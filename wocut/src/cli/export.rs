//! `wocut export`

use clap::Args;

use super::Context;
use crate::config::export;

/// Print everything that is attached as TOML, which `apply` takes
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut export > all.toml && wocut check all.toml")]
pub(super) struct Export {}

impl Export {
    #[expect(clippy::unused_self, reason = "every command is run the same way")]
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let toml = export(&context.wanted()?);
        if context.printer.json() {
            return context.printer.object(&serde_json::json!({ "schema": 1, "toml": toml }));
        }
        context.printer.text(&toml)
    }
}
