//! `wocut apply FILE... [--prune]`

use std::path::PathBuf;

use clap::Args;

use super::{Context, DryRun};
use crate::{
    config::{Config, Problem},
    error::Usage,
    propose::{self, Terms},
};

/// Make what files say wanted: all of it, or nothing where one of them makes no sense
///
/// FILE is TOML, or NAME.wocut of the original wocut, or a directory of such files, or `-` for standard input.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  wocut apply /etc/wocut --prune --dry-run
  wocut apply web.toml api.toml")]
pub(super) struct Apply {
    /// Files, in any order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Detach services that are in none of the files
    #[arg(long)]
    prune: bool,
    /// Go on where something else is in the way
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Apply {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let Self { files, prune, force, dry_run: DryRun { dry_run } } = self;
        let Config { services, warnings, .. } = Config::read(&files).sound()?;
        if prune && services.is_empty() {
            let what = "no service is in the files: `wocut detach --all` detaches everything";
            return Err(Usage(what.into()).into());
        }
        let terms = Terms { engine: context.global.engine, prune, dry_run, ask: context.ask(force) };
        let note = |line: &str| context.printer.note(line);
        let mut done = context.host.change(dry_run, context.global.verbose > 0, |host, wanted| {
            propose::definitions(host, wanted, services, terms, note)
        })?;
        done.warnings.splice(0..0, warnings.iter().map(Problem::brief));
        context.printer.change(&done, dry_run)
    }
}
