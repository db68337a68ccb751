//! `wocut serve [--config DIR] [--state FILE] [--http ADDR:PORT]`

use std::path::{Path, PathBuf};

use clap::Args;

use super::Context;
use crate::{
    api,
    daemon::{self, Options},
};

/// Where the configuration is looked for.
pub(super) const CONFIG: &str = "/etc/wocut";

/// Keep services as they are wanted, check their instances, and let other programs manage them
///
/// Traffic does not depend on it: while it does not run, connections go on as last decided.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  wocut serve --config /etc/wocut
  wocut serve --state /var/lib/wocut/state.toml --http 127.0.0.1:9180 --token-file /etc/wocut/tokens")]
pub(super) struct Serve {
    /// Files to apply, as `wocut apply` takes them [default: /etc/wocut, if it is there]
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Keep services here as they are changed; once it is there, it is what a start goes by
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Apply the configuration in spite of conflicts
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    api: api::Options,
    /// Detach every service at the end
    #[arg(long)]
    detach_on_exit: bool,
    /// What to log, as in `info` or `wocut=debug`
    #[arg(long, value_name = "FILTER", env = "WOCUT_LOG", default_value = "info")]
    log: String,
    /// How to log
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: daemon::Format,
}

impl Serve {
    pub(super) fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let Self { config, state, force, api, detach_on_exit, log, log_format } = self;
        let usual = Some(Path::new(CONFIG)).filter(|folder| folder.exists());
        let config = config.or_else(|| usual.map(Into::into));
        let options = Options {
            config,
            state,
            engine: context.global.engine,
            force,
            api,
            detach_on_exit,
            log,
            log_format,
        };
        daemon::serve(context.host, options)
    }
}
