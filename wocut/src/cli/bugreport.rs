//! `wocut bugreport [--out FILE]`

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::Args;

use super::{Context, printer::Printer};
use crate::bugreport::{Report, name, write};

/// Put what a maintainer asks for into one archive, and nothing secret
///
/// It has what doctor and status say, the wanted state, versions, mounts, capabilities, settings, what is pinned, and wocut's
/// own rules. It leaves out tokens, keys, logs, addresses of clients, the name of the host, rules of others, and texts of
/// health checks.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut bugreport\n  wocut bugreport --out /tmp/wocut.tar.gz")]
pub(super) struct Bugreport {
    /// Write it there, where no file may be yet [default: wocut-bugreport-TIME.tar.gz in this directory]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Bugreport {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?;
        let out = self.out.unwrap_or_else(|| name(now).into());
        let report = Report::collect(&context.host);
        write(&report, &out, now)?;
        show(context.printer, &report, &out)
    }
}

pub(super) fn show(printer: &Printer, report: &Report, out: &Path) -> anyhow::Result<()> {
    let Report { files, problems } = report;
    if printer.json() {
        let files: Vec<&String> = files.iter().map(|(name, _)| name).collect();
        return printer.object(&serde_json::json!({
            "schema": 1, "file": out, "files": files, "problems": problems,
        }));
    }
    for problem in problems {
        printer.note(&format!("left out: {problem}"));
    }
    printer.said(&format!("wrote {} files to {}", files.len(), out.display()))
}
