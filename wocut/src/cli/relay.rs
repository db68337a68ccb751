//! What passes the lines of a worker on. Nobody types it.

use clap::Args;

use crate::cluster::output::relay;

/// Pass lines on with a prefix
#[derive(Args, Debug)]
pub(super) struct Relay {
    /// Before each line
    prefix: String,
}

impl Relay {
    pub(super) fn run(self) -> anyhow::Result<()> {
        relay(&self.prefix)
    }
}
