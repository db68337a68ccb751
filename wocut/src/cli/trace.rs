//! `wocut trace [NAME]`: picks as they happen.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use clap::Args;

use super::Context;
use crate::{
    engine::ebpf::{
        Ebpf,
        trace::{Outcome, Pick, watch},
    },
    error::NotAttached,
    host::service,
    model::{EngineKind, Name, Service},
};

/// Print picks as they happen: client, service, instance, why
#[derive(Args, Debug)]
pub(super) struct Trace {
    /// One service
    name: Option<Name>,
    /// Stop after this many picks
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl Trace {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let wanted = context.host.wanted()?;
        if let Some(name) = &self.name {
            service(&wanted, name)?;
        }
        let only = |name: &Name| self.name.as_ref().is_none_or(|only| only == name);
        let services: BTreeMap<u32, (&Name, &Service)> = wanted
            .on(EngineKind::Ebpf)
            .into_iter()
            .filter(|(name, _)| only(name))
            .map(|(name, service)| (service.index, (name, service)))
            .collect();
        if services.is_empty() {
            return Err(NotAttached("nothing to trace: no service is on the ebpf engine".into()).into());
        }
        let left = AtomicU64::new(self.count.unwrap_or(u64::MAX));
        let ready = || context.printer.note("tracing picks, interrupt to stop");
        watch(&Ebpf::new(context.host.netns()), ready, |pick| {
            let Some((name, service)) = services.get(&pick.service) else { return true };
            let printed = context.printer.pick(name, &pick, instance(service, &pick), &why(service, &pick));
            let before = left.fetch_sub(1, Ordering::Relaxed);
            printed.is_ok() && before > 1
        })
    }
}

fn instance<'a>(service: &'a Service, pick: &Pick) -> Option<&'a Name> {
    let port = pick.port?;
    let on_port = || service.instances.iter().filter(move |instance| instance.spec.port == port);
    // Of several on one port the first choice is the likeliest.
    let first = on_port().find(|instance| instance.id == pick.first_choice);
    first.or_else(|| on_port().next()).map(|instance| &instance.spec.name)
}

fn why(service: &Service, pick: &Pick) -> String {
    let first = service.instances.iter().find(|instance| instance.id == pick.first_choice);
    let first = first.map_or("an instance that is gone", |instance| instance.spec.name.as_str());
    let reason = match pick.became {
        Outcome::Taken => return "first choice".into(),
        Outcome::Absent if pick.first_choice == 0 => return "no instance may be picked".into(),
        Outcome::Absent => "is not listening",
        Outcome::Full => "has a full accept queue",
        Outcome::Refused => "could not be assigned",
    };
    format!("failover: {first} {reason}")
}
