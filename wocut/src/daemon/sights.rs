//! Reads along what programs in the kernel see of instances, and passes it on to those who ask them how they are.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::mpsc::Sender, time::Instant};

use super::{Event, Handle};
use crate::{
    engine::ebpf::{
        Ebpf,
        events::{Events, Sight},
    },
    model::{Name, Wanted},
};

/// An instance id, and what was seen of it.
pub(super) type Seen = (u32, Sight);

/// The same of the same instance is told of again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// Reads along until it is dropped, while any service is on eBPF; rules tell nothing.
pub(super) async fn watch(handle: &Handle, pass_on: &Sender<Seen>) -> anyhow::Result<()> {
    let mut happened = handle.events();
    let mut told = BTreeMap::new();
    loop {
        let engine = Ebpf::new(handle.host().netns());
        let Ok(mut events) = Events::open(&engine) else {
            // What is attached next may bring them. That some were missed is no news.
            let _any = happened.recv().await;
            continue;
        };
        while events.are_current(&engine) {
            tokio::select! {
                seen = events.next() => for seen in seen? {
                    tell(handle, seen, &mut told);
                    // Who asks may be busy, and has more of this than it takes then.
                    let _heard = pass_on.try_send(seen);
                },
                // Whoever put back what was taken away has made new ones.
                _ = happened.recv() => {}
            }
        }
    }
}

/// Tells of what is new.
fn tell(handle: &Handle, (id, sight): Seen, told: &mut BTreeMap<Seen, Instant>) {
    told.retain(|_, at| at.elapsed() < AGAIN);
    if told.contains_key(&(id, sight)) {
        return;
    }
    told.insert((id, sight), Instant::now());
    if let Some((service, instance)) = names(&handle.wanted(), id) {
        handle.tell(Event::Seen { service, instance, sight });
    }
}

fn names(wanted: &Wanted, id: u32) -> Option<(Name, Name)> {
    wanted.services.iter().find_map(|(name, service)| {
        let instance = service.instances.iter().find(|instance| instance.id == id)?;
        Some((name.clone(), instance.spec.name.clone()))
    })
}
