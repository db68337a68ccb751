//! What happened, for the log and for who listens to `/_events`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::{
    engine::ebpf::events::Sight,
    model::{Health, Name},
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// What is wanted was changed.
    Changed {
        /// By whom: a client of the API, `config`, `checks`, `slow start`, or `another command`.
        who: String,
        /// What changed, in a line for each service.
        what: String,
    },
    /// Checks, or connections that failed, say something else of an instance.
    Health {
        /// Its service.
        service: Name,
        /// Its name.
        instance: Name,
        /// What it is now.
        health: Health,
        /// What the last check came to.
        why: String,
    },
    /// Programs in the kernel saw something of an instance.
    Seen {
        /// Its service.
        service: Name,
        /// Its name.
        instance: Name,
        /// What they saw.
        sight: Sight,
    },
    /// A service has no instance left that may take a connection.
    Empty {
        /// The service.
        service: Name,
    },
    /// Something that was not wocut had changed what the kernel holds, and it is as wanted again.
    Repaired {
        /// What was not as wanted.
        what: Vec<String>,
    },
    /// Something was tried and did not work; what was before goes on.
    Failed {
        /// What was tried.
        what: String,
        /// Why it did not work.
        why: String,
    },
}

/// An event, and when it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Noted {
    /// In seconds since 1970.
    pub at: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Noted {
    /// Something that happened now.
    pub fn now(event: Event) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        Self { at, event }
    }
}

impl Event {
    /// Writes it to the log.
    pub(super) fn log(&self) {
        match self {
            Self::Changed { who, what } => {
                for line in what.lines() {
                    tracing::info!(%who, "{line}");
                }
            }
            Self::Health { service, instance, health, why } => {
                tracing::warn!(%service, %instance, %health, "{why}");
            }
            Self::Seen { service, instance, sight: Sight::Listens } => {
                tracing::info!(%service, %instance, "{}", Sight::Listens);
            }
            Self::Seen { service, instance, sight } => tracing::warn!(%service, %instance, "{sight}"),
            Self::Empty { service } => {
                tracing::error!(%service, "no instance is left: new connections go by `on_empty`");
            }
            Self::Repaired { what } => {
                for step in what {
                    tracing::warn!("repaired: {step}");
                }
            }
            Self::Failed { what, why } => tracing::error!("{what}: {why}"),
        }
    }
}
