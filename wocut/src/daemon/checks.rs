//! Asks every instance that has a check, each in its own time, and makes wanted what comes of it.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use anyhow::Context as _;
use tokio::{
    sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{Instant, sleep, sleep_until},
};

use super::{Event, Handle, sights::Seen};
use crate::{
    engine::ebpf::events::Sight,
    error::one_line,
    health::{Failure, Machine, Target, ask, timetable},
    host::Host,
    model::{Admin, Check, Health, Instance, Name, Service, Wanted},
    plan::Change,
    sys::listeners::{self, Listener},
};

/// Who makes these changes.
const WHO: &str = "checks";
/// After a change that could not be made, it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// An instance that is asked.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    service: Name,
    instance: Instance,
    check: Check,
}

/// What is new of an instance.
#[derive(Debug)]
struct News {
    asked: Asked,
    health: Health,
    why: String,
}

/// One who asks.
struct Asking {
    asked: Asked,
    task: AbortHandle,
    seen: UnboundedSender<Sight>,
}

/// Asks until it is dropped. What is seen of instances counts as well.
pub(super) async fn run(handle: &Handle, mut seen: Receiver<Seen>) -> anyhow::Result<()> {
    let mut wanted = handle.watch();
    wanted.mark_changed();
    let (tell, mut news) = unbounded_channel();
    let mut batch = Vec::new();
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<u32, Asking> = BTreeMap::new();
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                changed.context("wait for changes of what is wanted")?;
                let now = wanted.borrow_and_update().clone();
                let asked = all(&now).map(|asked| (asked.instance.id, asked)).collect();
                for (id, asked) in new_ones(&mut running, asked) {
                    let (seen, sights) = unbounded_channel();
                    let task = tasks.spawn(asked.clone().ask(handle.clone(), tell.clone(), sights));
                    running.insert(id, Asking { asked, task, seen });
                }
            }
            _ = news.recv_many(&mut batch, usize::MAX) => settle(handle, &mut news, std::mem::take(&mut batch)).await,
            Some((id, sight)) = seen.recv() => if let Some(asking) = running.get(&id)
                && counts(&wanted.borrow(), asking, sight)
            {
                // One that has ended is told nothing.
                let _heard = asking.seen.send(sight);
            },
            // One that was stopped.
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// Stops those that are asked no more or otherwise, and returns those that nobody asks yet.
fn new_ones(running: &mut BTreeMap<u32, Asking>, mut asked: BTreeMap<u32, Asked>) -> BTreeMap<u32, Asked> {
    running.retain(|id, known| {
        let stays = asked.get(id).is_some_and(|asked| asked.is_same(&known.asked));
        if !stays {
            known.task.abort();
        }
        stays
    });
    asked.retain(|id, _| !running.contains_key(id));
    asked
}

/// Whether something that was seen may take an instance out. Where nobody else could take its connections, that would
/// make of a service that is slow one that is down: the last one is judged by its checks alone.
fn counts(wanted: &Wanted, Asking { asked, .. }: &Asking, sight: Sight) -> bool {
    let service = || wanted.services.get(&asked.service);
    sight == Sight::Listens
        || service().is_some_and(|service| service.takers().any(|(other, _)| other.id != asked.instance.id))
}

/// Every instance that has a check, and is not out of use.
fn all(wanted: &Wanted) -> impl Iterator<Item = Asked> {
    let of = |(name, service): (&Name, &Service)| -> Vec<Asked> {
        let checked = service.instances.iter().filter(|instance| instance.admin != Admin::Maint);
        let asked = |instance: &Instance| {
            let check = service.check_of(instance)?.clone();
            Some(Asked { service: name.clone(), instance: instance.clone(), check })
        };
        checked.filter_map(asked).collect()
    };
    wanted.services.iter().flat_map(of)
}

/// Makes news wanted, as one change.
async fn settle(handle: &Handle, news: &mut UnboundedReceiver<News>, mut batch: Vec<News>) {
    loop {
        let found: Vec<_> = batch.iter().map(|News { asked, health, .. }| (asked.clone(), *health)).collect();
        let change = |_: &Host, wanted: &Wanted| {
            let here = found.into_iter().filter(|(asked, _)| asked.is_in(wanted));
            let found = here.map(|(asked, health)| (asked.service, asked.instance.spec.name, health));
            Ok(Change::Health(found.collect()))
        };
        match handle.change(WHO, change).await {
            Ok(_) => break,
            Err(error) => {
                let what = "make wanted what checks found".into();
                handle.tell(Event::Failed { what, why: one_line(&error) });
                sleep(AGAIN).await;
                while let Ok(newer) = news.try_recv() {
                    batch.push(newer);
                }
            }
        }
    }
    let wanted = handle.wanted();
    batch.retain(|News { asked, .. }| asked.is_in(&wanted));
    for News { asked: Asked { service, instance, .. }, health, why } in batch {
        handle.tell(Event::Health { service, instance: instance.spec.name, health, why });
    }
}

impl Asked {
    /// Whether it is asked as that one is: what became of it by its answers makes no other one of it.
    fn is_same(&self, other: &Self) -> bool {
        let place = |asked: &Self| {
            let Self { service, instance, check } = asked;
            (
                service.clone(),
                instance.spec.name.clone(),
                instance.spec.address,
                instance.spec.port,
                check.clone(),
            )
        };
        place(self) == place(other)
    }

    /// Whether it is there still, and none that has its name.
    fn is_in(&self, wanted: &Wanted) -> bool {
        let service = wanted.services.get(&self.service);
        let instance = service.and_then(|service| service.instance(&self.instance.spec.name));
        instance.is_some_and(|instance| instance.id == self.instance.id)
    }

    /// Asks until it is dropped.
    async fn ask(self, handle: Handle, tell: UnboundedSender<News>, mut sights: UnboundedReceiver<Sight>) {
        let mut machine = Machine::new(self.instance.health, &self.check);
        let told = |health, why: String| {
            // Nobody listens to one that is about to be dropped.
            let _heard = tell.send(News { asked: self.clone(), health, why });
        };
        if machine.health() != self.instance.health {
            told(machine.health(), "as the check has it before the first answer".into());
        }
        let mut found = self.place().await;
        let mut next = Instant::now() + timetable::first(machine.interval(), random());
        loop {
            tokio::select! {
                () = sleep_until(next) => {}
                Some(sight) = sights.recv() => if sight != Sight::Listens {
                    if sight == Sight::Absent && self.listener().await.is_some() {
                        // It serves the other family, and a client of this one says nothing of it.
                        continue;
                    }
                    if let Some(health) = machine.failed_in_traffic() {
                        told(health, sight.to_string());
                    }
                    next = next.min(Instant::now() + machine.interval());
                    continue;
                },
            }
            let began = Instant::now();
            let answer = ask(&self.check, &Target::of(&self.check, &self.instance.spec, found)).await;
            let why = match &answer {
                Ok(()) => "it answers".into(),
                Err(failure) => failure.to_string(),
            };
            tracing::debug!(service = %self.service, instance = %self.instance.spec.name, "check: {why}");
            // What is wrong with this host says nothing of an instance.
            if !answer.as_ref().is_err_and(Failure::is_ours) {
                handle.count(self.instance.id, answer.is_ok());
                if let Some(health) = machine.heard(answer.is_ok()) {
                    told(health, why);
                }
            }
            if answer.is_err() {
                // It may have come back at another address.
                found = self.place().await;
            }
            next = Instant::now() + timetable::next(machine.interval(), began.elapsed(), random());
        }
    }

    /// Where it listens, if neither it nor the check names an address.
    async fn place(&self) -> Option<IpAddr> {
        if self.check.address.or(self.instance.spec.address).is_some() {
            return None;
        }
        self.listener().await.as_ref().map(Listener::reachable_at)
    }

    /// Its listener, of whatever family.
    async fn listener(&self) -> Option<Listener> {
        let (address, port) = (self.instance.spec.address, self.instance.spec.port);
        let listeners = spawn_blocking(listeners::tcp).await.ok()?.ok()?;
        listeners.into_iter().find(|listener| listener.serves(address, port))
    }
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without chance, checks are in step, and that is all.
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::INSECURE);
    u32::from_ne_bytes(bytes)
}
