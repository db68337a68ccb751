//! Figures for Prometheus, read from the kernel when they are asked for: they outlive this daemon.
//!
//! `text` writes the format. What an engine cannot know has no line.

mod text;

use crate::{
    daemon::{Checked, EventCounts},
    metrics::text::Page,
    model::{Admin, Instance, Name, Wanted},
    status::{InstanceStatus, Status},
};

/// The type of [`page`]. Prometheus also takes `OpenMetrics`, which `promtool check metrics` does not.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures. `events` says how many events there were, `checked` tells what the checks of an instance came to, by its id.
pub fn page(
    wanted: &Wanted,
    status: &Status,
    events: &EventCounts,
    checked: impl Fn(u32) -> Checked,
) -> String {
    let mut page = Page::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauge("wocut_build_info", "Which version this is.", [(version, 1.0)]);
    let events = events.iter().map(|(kind, count)| ([("event", *kind)], *count));
    page.counter("wocut_events_total", "What happened since the daemon started.", events);
    services(&mut page, wanted, status);
    traffic(&mut page, status);
    state(&mut page, wanted, status);
    checks(&mut page, wanted, checked);
    page.text()
}

fn services(page: &mut Page, wanted: &Wanted, status: &Status) {
    let info = wanted.services.iter().map(|(name, service)| {
        let fallback = if service.engine_reason.is_some() { "yes" } else { "no" };
        let labels = [
            ("service", name.to_string()),
            ("engine", service.engine.to_string()),
            ("policy", service.options.policy.to_string()),
            ("fallback", fallback.into()),
        ];
        (labels, 1.0)
    });
    page.gauge("wocut_service_info", "What carries it, and whether as eBPF was refused.", info);
    let each = |figure: fn(&crate::status::ServiceStatus) -> Option<u64>| {
        let services = status.services.iter();
        services.filter_map(move |service| Some(([("service", service.name.as_str())], figure(service)?)))
    };
    page.counter("wocut_picks_total", "Choices of an instance for a new connection.", each(|it| it.picks));
    page.counter("wocut_unserved_total", "Picks that found no instance.", each(|it| it.unserved));
}

/// A figure of every instance that has it.
fn each<'s, T>(
    status: &'s Status,
    figure: impl Fn(&InstanceStatus) -> Option<T> + 's,
) -> impl Iterator<Item = ([(&'static str, &'s str); 2], T)> {
    let instances = status.services.iter().flat_map(|service| {
        service.instances.iter().map(move |instance| (labels(&service.name, &instance.name), instance))
    });
    instances.filter_map(move |(labels, instance)| Some((labels, figure(instance)?)))
}

fn labels<'s>(service: &'s Name, instance: &'s Name) -> [(&'static str, &'s str); 2] {
    [("service", service.as_str()), ("instance", instance.as_str())]
}

fn traffic(page: &mut Page, status: &Status) {
    let mut counter = |name: &str, help: &str, figure: fn(&InstanceStatus) -> Option<u64>| {
        page.counter(name, help, each(status, figure));
    };
    counter("wocut_instance_picked_total", "Picks that chose it.", |it| it.picked);
    counter("wocut_instance_failovers_total", "Picks that passed it over.", |it| it.failovers);
    counter("wocut_instance_connections_total", "Connections to it.", |it| it.connections);
    counter(
        "wocut_instance_received_bytes_total",
        "Bytes from clients, on connections that have ended.",
        |it| it.received_bytes,
    );
    counter("wocut_instance_sent_bytes_total", "Bytes to clients, on connections that have ended.", |it| {
        it.sent_bytes
    });
}

fn state(page: &mut Page, wanted: &Wanted, status: &Status) {
    #[expect(clippy::cast_precision_loss, reason = "no host has 2^53 connections")]
    let active = each(status, |it| it.active.map(|active| active as f64));
    page.gauge("wocut_instance_active_connections", "Connections open now.", active);
    let queue = each(status, |it| it.accept_queue.map(f64::from));
    page.gauge("wocut_instance_accept_queue", "Connections that wait to be accepted.", queue);
    let listening = each(status, |it| it.listening.map(f64::from));
    page.gauge("wocut_instance_listening", "Whether the kernel has a listener for it.", listening);
    let up = status.services.iter().flat_map(|service| {
        let wanted = wanted.services.get(&service.name);
        service.instances.iter().map(move |instance| {
            let is_eligible =
                wanted.and_then(|it| it.instance(&instance.name)).is_some_and(Instance::is_eligible);
            let is_up = is_eligible && instance.listening != Some(false);
            (labels(&service.name, &instance.name), f64::from(is_up))
        })
    });
    let ready = each(status, |it| Some(f64::from(it.admin == Admin::Ready)));
    page.gauge("wocut_instance_ready", "Whether it is neither drained nor in maintenance.", ready);
    page.gauge("wocut_instance_up", "Whether it can take new connections.", up);
    let weight = each(status, |it| Some(f64::from(it.weight)));
    page.gauge("wocut_instance_weight", "Its relative share.", weight);
    let share = each(status, |it| Some(it.share));
    page.gauge("wocut_instance_share_ratio", "Part of the new connections that should go to it.", share);
}

fn checks(page: &mut Page, wanted: &Wanted, checked: impl Fn(u32) -> Checked) {
    let each = wanted.services.iter().flat_map(|(name, service)| {
        let checked = &checked;
        let asked = service.instances.iter().filter(|instance| service.check_of(instance).is_some());
        asked.flat_map(move |instance| {
            let Checked { good, bad } = checked(instance.id);
            [("good", good), ("bad", bad)].map(|(result, count)| {
                let [service, instance] = labels(name, &instance.spec.name);
                ([service, instance, ("result", result)], count)
            })
        })
    });
    page.counter("wocut_instance_checks_total", "Health checks since the daemon started.", each);
}

#[cfg(test)]
mod tests;
