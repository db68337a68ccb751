//! What every part of the daemon looks at this host through, and changes it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use tokio::{
    sync::{Mutex as Turn, broadcast, watch},
    task::spawn_blocking,
};

use super::{Event, EventCounts, Noted, state};
use crate::{
    error::one_line,
    host::{Done, Host, Proposal, Repair},
    model::{Name, Wanted},
    plan::differences,
    status::Status,
};

/// Events that a listener may be behind before it misses some.
const BEHIND: usize = 1024;

/// What the checks of an instance came to since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Good answers.
    pub good: u64,
    /// Bad ones, and none.
    pub bad: u64,
}

/// What every part of the daemon has of it. A copy is the same one.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    host: Host,
    /// Where services outlive a boot.
    state: Option<PathBuf>,
    /// Changes are made one after the other, so that those who wait take no thread.
    turn: Turn<()>,
    wanted: watch::Sender<Arc<Wanted>>,
    events: broadcast::Sender<Noted>,
    /// By instance id.
    checked: Mutex<BTreeMap<u32, Checked>>,
    event_counts: Mutex<EventCounts>,
}

impl Handle {
    /// What is wanted on a host now. With a state file, that is kept as well from the first change on.
    pub fn new(host: Host, state: Option<PathBuf>) -> anyhow::Result<Self> {
        let wanted = watch::Sender::new(Arc::new(host.wanted()?));
        let events = broadcast::Sender::new(BEHIND);
        Ok(Self(Arc::new(Shared {
            host,
            state,
            turn: Turn::default(),
            wanted,
            events,
            checked: Mutex::default(),
            event_counts: Mutex::new(Event::KINDS.map(|kind| (kind, 0)).into()),
        })))
    }

    pub(super) fn host(&self) -> &Host {
        &self.0.host
    }

    /// Inode number of the network namespace that the daemon works in.
    pub fn netns(&self) -> u64 {
        self.0.host.netns().inode
    }

    /// What is wanted, as far as is known here.
    pub fn wanted(&self) -> Arc<Wanted> {
        self.0.wanted.borrow().clone()
    }

    /// What is wanted, and each time that it changes, whoever changes it.
    pub fn watch(&self) -> watch::Receiver<Arc<Wanted>> {
        self.0.wanted.subscribe()
    }

    /// What happens from here on.
    pub fn events(&self) -> broadcast::Receiver<Noted> {
        self.0.events.subscribe()
    }

    /// What the checks of an instance came to.
    pub fn checked(&self, instance: u32) -> Checked {
        let checked = self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.get(&instance).copied().unwrap_or_default()
    }

    /// How many events there were.
    pub fn event_counts(&self) -> EventCounts {
        self.0.event_counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Wanted state and what the kernel says of it: of all services, or of one.
    pub async fn status(&self, only: Option<Name>) -> anyhow::Result<Status> {
        self.look(move |host| Status::read(host, only.as_ref())).await
    }

    /// Looks at the host, where that may take a while.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Host) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let shared = self.0.clone();
        spawn_blocking(move || look(&shared.host)).await.context("look at this host")?
    }

    /// Makes a change: see [`Host::change`]. It is made to the end, also when nobody waits for it any more, and when
    /// this returns it is in the state files. `who` is for the log.
    pub async fn change<C: Into<Proposal>>(
        &self,
        who: impl Into<String>,
        change: impl FnOnce(&Host, &Wanted) -> anyhow::Result<C> + Send + 'static,
    ) -> anyhow::Result<Done> {
        self.make(who, |host| host.change(false, false, change)).await
    }

    /// The same, where making it is more than that.
    pub async fn make(
        &self,
        who: impl Into<String>,
        make: impl FnOnce(&Host) -> anyhow::Result<Done> + Send + 'static,
    ) -> anyhow::Result<Done> {
        let (this, who) = (self.clone(), who.into());
        let made = async move {
            let _turn = this.0.turn.lock().await;
            let mut done = this.look(make).await?;
            // What is made stays made, and is not said to have failed.
            done.warnings.extend(this.catch_up(who, Some(&done.line)).await?);
            Ok(done)
        };
        tokio::spawn(made).await.context("make a change")?
    }

    /// Puts right what something else did to the kernel: see [`Host::repair`].
    pub(super) async fn repair(&self) -> anyhow::Result<Repair> {
        let _turn = self.0.turn.lock().await;
        self.look(Host::repair).await
    }

    /// Reads what is wanted, which another command may have changed, and tells those who wait for it.
    pub(super) async fn caught_up(&self) -> anyhow::Result<()> {
        let _turn = self.0.turn.lock().await;
        self.catch_up("another command".into(), None).await.map(drop)
    }

    /// Returns a warning where the state file could not be written.
    async fn catch_up(&self, who: String, line: Option<&str>) -> anyhow::Result<Option<String>> {
        let wanted = Arc::new(self.look(Host::wanted).await?);
        if wanted.unfinished {
            // The command is still at it, or somebody has to finish what it began.
            return Ok(None);
        }
        let before = self.0.wanted.send_replace(wanted.clone());
        let unsaved = self.save(wanted.clone()).await?;
        if before.services == wanted.services {
            return Ok(unsaved);
        }
        self.forget(&wanted);
        let what = line.map_or_else(|| differences(&before, &wanted).join("\n"), Into::into);
        if !what.is_empty() {
            self.tell(Event::Changed { who, what });
        }
        newly_empty(&before, &wanted).for_each(|service| self.tell(Event::Empty { service }));
        Ok(unsaved)
    }

    /// Writes the state file. Returns why that did not work: the next change tries again.
    async fn save(&self, wanted: Arc<Wanted>) -> anyhow::Result<Option<String>> {
        let shared = self.0.clone();
        let write = move || shared.state.as_ref().map_or(Ok(()), |path| state::write(path, &wanted));
        let saved = spawn_blocking(write).await.context("write the state file")?;
        let why = saved.err().map(|error| one_line(&error));
        if let Some(why) = &why {
            self.tell(Event::Failed { what: "outlive a boot".into(), why: why.clone() });
        }
        Ok(why)
    }

    /// Tells of an event: to the log, and to all who listen.
    pub(super) fn tell(&self, event: Event) {
        event.log();
        let mut counts = self.0.event_counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(event.kind()).or_default() += 1;
        drop(counts);
        // Nobody may be listening.
        let _heard = self.0.events.send(Noted::now(event));
    }

    /// Counts a check of an instance.
    pub(super) fn count(&self, instance: u32, is_good: bool) {
        let mut checked = self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = checked.entry(instance).or_default();
        *(if is_good { &mut counted.good } else { &mut counted.bad }) += 1;
    }

    fn forget(&self, wanted: &Wanted) {
        let mut checked = self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let ids: Vec<u32> = wanted
            .services
            .values()
            .flat_map(|service| &service.instances)
            .map(|instance| instance.id)
            .collect();
        checked.retain(|id, _| ids.contains(id));
    }
}

/// Services that had instances for new connections and have none any more.
fn newly_empty<'a>(before: &'a Wanted, now: &'a Wanted) -> impl Iterator<Item = Name> + 'a {
    let empty = now.services.iter().filter(|(_, service)| service.takers().next().is_none());
    let had = |name: &Name| before.services.get(name).is_some_and(|old| old.takers().next().is_some());
    empty.filter(move |(name, _)| had(name)).map(|(name, _)| name.clone())
}
