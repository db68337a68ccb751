//! A daemon without a kernel, for tests of the layers above.

use std::sync::Arc;

use tokio::sync::watch;

use super::{daemon::Asked, edit::Edited};
use crate::{
    engine::{ObservedInstance, ObservedService},
    host::{self, Done},
    model::{Name, Wanted},
    plan::{Assigned, Change},
    status::Status,
    verb::Order,
};

/// Makes the change of what is wanted, and nothing else.
pub(super) fn change(wanted: &watch::Sender<Arc<Wanted>>, asked: Asked) -> anyhow::Result<Done> {
    let mut now = (**wanted.borrow()).clone();
    asked.conditions.check(&now, asked.edit.is_there(&now))?;
    let change = match asked.edit.on(&now)? {
        Edited::Change(change) => change,
        Edited::Definitions { services, prune } => {
            Change::Apply { services: services.into_iter().map(Assigned::from).collect(), prune }
        }
    };
    let line = change.apply(&mut now)?;
    if !asked.dry_run {
        wanted.send_replace(Arc::new(now));
    }
    Ok(Done { line, warnings: vec!["one\nwarning".into()], ..Done::default() })
}

/// The same for a command.
pub(super) fn carry_out(wanted: &watch::Sender<Arc<Wanted>>, order: &Order) -> anyhow::Result<Done> {
    let mut now = (**wanted.borrow()).clone();
    let line = order.verb.on(&now, order.dry_run)?.apply(&mut now)?;
    if !order.dry_run {
        wanted.send_replace(Arc::new(now));
    }
    Ok(Done { line, notes: vec!["engine ebpf: it is still".into()], ..Done::default() })
}

/// What a kernel would say that counts.
pub(super) fn status(wanted: &Wanted, only: Option<&Name>) -> anyhow::Result<Status> {
    let mut wanted = wanted.clone();
    if let Some(name) = only {
        host::service(&wanted, name)?;
        wanted.services.retain(|other, _| other == name);
    }
    let counted = |id: u32| ObservedInstance {
        picked: Some(id.into()),
        failovers: Some(2),
        active: Some(3),
        connections: Some(40),
        // As an engine that cannot know.
        received_bytes: None,
        sent_bytes: Some(600),
        refused: None,
    };
    let observed = wanted.services.values().map(|service| ObservedService {
        hook: Some("sk_lookup"),
        picks: Some(50),
        unserved: Some(7),
        instances: service.instances.iter().map(|instance| counted(instance.id)).collect(),
    });
    let observed = observed.collect();
    Ok(Status::of(&wanted, observed, Some(&[])))
}
