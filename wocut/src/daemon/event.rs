//! What happened, for the log and for who listens to `/_events`.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

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

/// How many events there were since the daemon started, by the name of their kind.
pub type EventCounts = BTreeMap<&'static str, u64>;

impl Event {
    /// The names of all kinds, as in `/_events`.
    pub(super) const KINDS: [&'static str; 6] = ["changed", "health", "seen", "empty", "repaired", "failed"];

    /// The name of its kind.
    pub(super) const fn kind(&self) -> &'static str {
        let [changed, health, seen, empty, repaired, failed] = Self::KINDS;
        match self {
            Self::Changed { .. } => changed,
            Self::Health { .. } => health,
            Self::Seen { .. } => seen,
            Self::Empty { .. } => empty,
            Self::Repaired { .. } => repaired,
            Self::Failed { .. } => failed,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn kinds_are_named_as_events_are_sent() {
        let name = || "web".parse().unwrap();
        let events = [
            Event::Changed { who: "config".into(), what: String::new() },
            Event::Health {
                service: name(),
                instance: name(),
                health: crate::model::Health::Up,
                why: String::new(),
            },
            Event::Seen {
                service: name(),
                instance: name(),
                sight: crate::engine::ebpf::events::Sight::Listens,
            },
            Event::Empty { service: name() },
            Event::Repaired { what: Vec::new() },
            Event::Failed { what: String::new(), why: String::new() },
        ];
        let sent = events.each_ref().map(|event| serde_json::to_value(event).unwrap()["event"].clone());
        assert_eq!(sent, Event::KINDS);
        assert_eq!(events.each_ref().map(Event::kind), Event::KINDS);
    }
}
