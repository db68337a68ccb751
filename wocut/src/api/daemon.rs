//! What the API has of the daemon.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::{
    edit::{Edit, Edited},
    etag::Conditions,
    local,
};
use crate::{
    conflicts,
    daemon::{Checked, EventCounts, Handle, Noted},
    departure::{Departure, Seen},
    host::{Done, Host, Proposal},
    model::{Name, Wanted},
    propose::{self, Terms},
    status::Status,
    verb::Order,
};

/// A change that a client asks for.
#[derive(Debug)]
pub(super) struct Asked {
    /// Who asks.
    pub(super) who: String,
    /// The state that it is meant for.
    pub(super) conditions: Conditions,
    /// What is to be changed.
    pub(super) edit: Edit,
    /// Whether conflicts are warnings.
    pub(super) force: bool,
    /// Whether it is only told what would be done.
    pub(super) dry_run: bool,
}

/// The daemon.
pub(super) enum Daemon {
    /// With a kernel below it.
    Live(Handle),
    /// Without one: for tests of the layers above.
    #[cfg(test)]
    Still(tokio::sync::watch::Sender<Arc<Wanted>>, broadcast::Sender<Noted>),
}

impl Daemon {
    pub(super) fn wanted(&self) -> Arc<Wanted> {
        match self {
            Self::Live(handle) => handle.wanted(),
            #[cfg(test)]
            Self::Still(wanted, _) => wanted.borrow().clone(),
        }
    }

    /// What the state file has, which another command may have changed just now.
    pub(super) async fn read_wanted(&self) -> anyhow::Result<Wanted> {
        match self {
            Self::Live(handle) => handle.look(Host::wanted).await,
            #[cfg(test)]
            Self::Still(wanted, _) => Ok(Wanted::clone(&wanted.borrow())),
        }
    }

    /// Inode number of the network namespace that it works in.
    pub(super) fn netns(&self) -> u64 {
        match self {
            Self::Live(handle) => handle.netns(),
            #[cfg(test)]
            Self::Still(..) => 1,
        }
    }

    pub(super) fn checked(&self, instance: u32) -> Checked {
        match self {
            Self::Live(handle) => handle.checked(instance),
            #[cfg(test)]
            Self::Still(..) => Checked { good: u64::from(instance), bad: 0 },
        }
    }

    pub(super) fn event_counts(&self) -> EventCounts {
        match self {
            Self::Live(handle) => handle.event_counts(),
            #[cfg(test)]
            Self::Still(..) => EventCounts::from([("changed", 1)]),
        }
    }

    pub(super) fn events(&self) -> broadcast::Receiver<Noted> {
        match self {
            Self::Live(handle) => handle.events(),
            #[cfg(test)]
            Self::Still(_, events) => events.subscribe(),
        }
    }

    pub(super) async fn status(&self, only: Option<Name>) -> anyhow::Result<Status> {
        match self {
            Self::Live(handle) => handle.status(only).await,
            #[cfg(test)]
            Self::Still(wanted, _) => super::still::status(&wanted.borrow().clone(), only.as_ref()),
        }
    }

    /// Makes a change, or says what it would do.
    pub(super) async fn change(&self, asked: Asked) -> anyhow::Result<Done> {
        match self {
            Self::Live(handle) if asked.dry_run => {
                handle
                    .look(move |host| host.change(true, true, |host, wanted| propose(host, wanted, asked)))
                    .await
            }
            Self::Live(handle) => {
                handle.change(asked.who.clone(), |host, wanted| propose(host, wanted, asked)).await
            }
            #[cfg(test)]
            Self::Still(wanted, _) => super::still::change(wanted, asked),
        }
    }
}

impl Daemon {
    /// Does what a command asks for.
    pub(super) async fn carry_out(&self, who: String, order: Order) -> anyhow::Result<Done> {
        match self {
            Self::Live(handle) if order.dry_run => handle.look(move |host| order.carry_out(host)).await,
            Self::Live(handle) => handle.make(who, move |host| order.carry_out(host)).await,
            #[cfg(test)]
            Self::Still(wanted, _) => super::still::carry_out(wanted, &order),
        }
    }

    /// Looks at those who leave.
    pub(super) async fn open(&self, departure: Departure) -> anyhow::Result<Seen> {
        match self {
            Self::Live(handle) => {
                let look = move |host: &Host| departure.look(host, &departure.leaving(&host.wanted()?)?);
                handle.look(look).await
            }
            #[cfg(test)]
            Self::Still(wanted, _) => {
                departure.leaving(&wanted.borrow())?;
                Ok(Seen { ready: None, open: 3 })
            }
        }
    }
}

/// The change of the present state that a client asks for.
fn propose(host: &Host, wanted: &Wanted, asked: Asked) -> anyhow::Result<Proposal> {
    let Asked { conditions, edit, force, dry_run, .. } = asked;
    conditions.check(wanted, edit.is_there(wanted))?;
    let (services, prune) = match edit.on(wanted)? {
        Edited::Change(change) => return Ok(change.into()),
        Edited::Definitions { services, prune } => (services, prune),
    };
    local::check(wanted, &services)?;
    let ask = conflicts::Ask { force, verbose: false };
    let terms = Terms { prune, dry_run, ask, ..Terms::default() };
    let notes = std::cell::RefCell::new(Vec::new());
    let mut proposal = propose::definitions(host, wanted, services, terms, |note| {
        notes.borrow_mut().push(note.to_owned());
    })?;
    proposal.warnings.extend(notes.into_inner());
    Ok(proposal)
}
