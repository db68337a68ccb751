//! `wocut trace [NAME]`: picks as they happen.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use clap::Args;

use super::{Context, printer::Printer};
use crate::{
    engine::ebpf::{
        Ebpf, SK_LOOKUP,
        trace::{Outcome, Pick, watch},
    },
    error::NotAttached,
    host::service,
    model::{EngineKind, Name, Service, Wanted},
    status::Status,
};

/// Print picks as they happen: client, service, instance, why
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut trace\n  wocut trace web --count 100 --json")]
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
        if wanted.on(EngineKind::Ebpf).is_empty() {
            return Err(NotAttached("nothing to trace: no service is on the ebpf engine".into()).into());
        }
        let status = Status::read(&context.host, self.name.as_ref())?;
        if !status.services.iter().any(|service| service.hook.as_deref() == Some(SK_LOOKUP)) {
            let what = "nothing to trace: what picks on the tc hook, or in rules, cannot be watched";
            return Err(NotAttached(what.into()).into());
        }
        let wanted = Mutex::new(wanted);
        let left = AtomicU64::new(self.count.unwrap_or(u64::MAX));
        let ready = || context.printer.note("tracing picks, interrupt to stop");
        watch(&Ebpf::new(context.host.netns()), ready, |pick| {
            let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
            if !is_known(&wanted, &pick) {
                // A service or an instance came since.
                *wanted = context.host.wanted().unwrap_or_else(|_| wanted.clone());
            }
            let Some((name, service)) = find(&wanted, &pick) else { return true };
            if self.name.as_ref().is_some_and(|only| only != name) {
                return true;
            }
            show(context.printer, name, service, &pick) && left.fetch_sub(1, Ordering::Relaxed) > 1
        })
    }
}

/// False: nobody reads this any more.
pub(super) fn show(printer: &Printer, name: &Name, service: &Service, pick: &Pick) -> bool {
    let port = pick.port.map(|port| port.to_string());
    printer.pick(name, pick, instance(service, pick).or(port.as_deref()), &why(service, pick))
}

fn find<'a>(wanted: &'a Wanted, pick: &Pick) -> Option<(&'a Name, &'a Service)> {
    wanted.on(EngineKind::Ebpf).into_iter().find(|(_, service)| service.index == pick.service)
}

fn is_known(wanted: &Wanted, pick: &Pick) -> bool {
    let ids = |service: &Service| {
        pick.first_choice == 0 || service.instances.iter().any(|instance| instance.id == pick.first_choice)
    };
    find(wanted, pick).is_some_and(|(_, service)| {
        ids(service) && (pick.port.is_none() || instance(service, pick).is_some())
    })
}

fn instance<'a>(service: &'a Service, pick: &Pick) -> Option<&'a str> {
    let port = pick.port?;
    let on_port = || service.instances.iter().filter(move |instance| instance.spec.port == port);
    // Of several on one port the first choice is the likeliest.
    let first = on_port().find(|instance| instance.id == pick.first_choice);
    first.or_else(|| on_port().next()).map(|instance| instance.spec.name.as_str())
}

fn why(service: &Service, pick: &Pick) -> String {
    let first = service.instances.iter().find(|instance| instance.id == pick.first_choice);
    let first = first.map_or("an instance that is gone", |instance| instance.spec.name.as_str());
    let reason = match pick.became {
        Outcome::Taken if pick.first_choice == 0 => return format!("by {}", service.options.policy),
        Outcome::Taken => return "first choice".into(),
        Outcome::Absent if pick.first_choice == 0 => return "no instance can take it".into(),
        Outcome::Absent => "is not listening",
        Outcome::Full => "has a full accept queue",
        Outcome::Refused => "could not be assigned",
    };
    format!("failover: {first} {reason}")
}
