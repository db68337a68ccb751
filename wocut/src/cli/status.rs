//! `wocut status [NAME]`

use clap::Args;

use super::{
    Context,
    printer::{Align, Printer, Style, Table},
};
use crate::{
    model::{Admin, Health, Name},
    status::{self, InstanceStatus, ServiceStatus},
};

/// Show services, their instances, and what the kernel counted
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut status\n  wocut status web --json")]
pub(super) struct Status {
    /// One service
    name: Option<Name>,
}

impl Status {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        show(context.printer, &context.status(self.name.as_ref())?)
    }
}

pub(super) fn show(printer: &Printer, status: &status::Status) -> anyhow::Result<()> {
    if printer.json() {
        return printer.object(status);
    }
    if status.services.is_empty() {
        return printer.line("nothing is attached");
    }
    if let Some(reason) = &status.engine_reason {
        printer.line(&format!("not on ebpf: {reason}"))?;
    }
    for service in &status.services {
        printer.line(&headline(service))?;
        printer.table(&table(service))?;
        for instance in &service.instances {
            if let Some(why) = &instance.refused {
                printer.line(&format!("  {} gets no connections: {why}", instance.name))?;
            }
        }
    }
    Ok(())
}

fn headline(service: &ServiceStatus) -> String {
    let listen: Vec<String> = service.listen.iter().map(ToString::to_string).collect();
    let hook = service.hook.as_ref().map(|hook| format!("/{hook}")).unwrap_or_default();
    format!(
        "{}  {}  engine {}{hook}  policy {}  picks {}  unserved {}",
        service.name,
        listen.join(" "),
        service.engine,
        service.policy,
        figure(service.picks),
        figure(service.unserved),
    )
}

fn table(service: &ServiceStatus) -> Table {
    let mut table = Table::new(&[
        ("  INSTANCE", Align::Left),
        ("PLACE", Align::Left),
        ("WEIGHT", Align::Right),
        ("ADMIN", Align::Left),
        ("HEALTH", Align::Left),
        ("LISTENS", Align::Left),
        ("SHARE", Align::Right),
        ("PICKED", Align::Right),
        ("FAILOVERS", Align::Right),
        ("ACTIVE", Align::Right),
        ("TOTAL", Align::Right),
        ("RECEIVED", Align::Right),
        ("SENT", Align::Right),
        ("QUEUE", Align::Right),
    ]);
    for instance in &service.instances {
        let place = instance.address.map_or_else(
            || instance.port.to_string(),
            |address| std::net::SocketAddr::new(address, instance.port).to_string(),
        );
        let is_backup = instance.backup && instance.admin == Admin::Ready;
        let listens = instance.listening.map_or("-", |listening| if listening { "yes" } else { "no" });
        table.styled_row(
            style(instance),
            [
                format!("  {}", instance.name),
                place,
                instance.weight.to_string(),
                if is_backup { "backup".into() } else { instance.admin.to_string() },
                instance.throttle.map_or_else(
                    || instance.health.to_string(),
                    |percent| format!("{} {percent}%", instance.health),
                ),
                listens.into(),
                format!("{:.1}%", instance.share * 100.0),
                figure(instance.picked),
                figure(instance.failovers),
                figure(instance.active),
                figure(instance.connections),
                figure(instance.received_bytes),
                figure(instance.sent_bytes),
                figure(instance.accept_queue),
            ],
        );
    }
    table
}

/// What an instance's row says at a glance.
pub(super) fn style(instance: &InstanceStatus) -> Style {
    match instance {
        InstanceStatus { listening: Some(false), .. }
        | InstanceStatus { refused: Some(_), .. }
        | InstanceStatus { admin: Admin::Ready, health: Health::Down, .. } => Style::Bad,
        InstanceStatus { admin: Admin::Ready, .. } => Style::Plain,
        _ => Style::Off,
    }
}

/// What an engine cannot know is a dash.
fn figure(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}
