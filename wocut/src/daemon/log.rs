//! The log: to standard error, for whoever keeps it.

use std::{fmt::Display, io, str::FromStr as _};

use anyhow::Context as _;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt,
    layer::SubscriberExt as _,
    reload::{self, Handle},
    util::SubscriberInitExt as _,
};

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// What is logged, as in `info` or `wocut=debug,warn`; it can be changed while the daemon runs.
#[derive(Clone, Debug)]
pub struct Level(Handle<EnvFilter, Registry>);

impl Level {
    /// Starts the log of this process.
    pub(super) fn start(filter: &str, format: Format) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(parse(filter)?);
        // The journal has the time, and a file is nobody's terminal.
        let lines = fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false);
        let lines = match format {
            Format::Text => lines.boxed(),
            Format::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().context("start the log")?;
        Ok(Self(handle))
    }

    /// Logs what another filter lets through from here on.
    pub fn set(&self, filter: &str) -> anyhow::Result<()> {
        self.0.reload(parse(filter)?).context("change what is logged")
    }
}

/// The loader tells of every instruction that it touches, which nobody means who asks for `debug`.
const LOADER: &str = "aya=info,aya_obj=info";

fn parse(filter: &str) -> anyhow::Result<EnvFilter> {
    let context = || format!("`{filter}` is no filter, as in `info` or `wocut=debug`");
    EnvFilter::from_str(&format!("{LOADER},{filter}")).with_context(context)
}

/// Logs what could not be done for single instances, and why.
pub(super) fn warn(warnings: impl IntoIterator<Item = impl Display>) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
