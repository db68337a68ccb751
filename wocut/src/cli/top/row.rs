//! One line of `top`: a service as a whole, or one of its instances.

use serde::Serialize;

use super::rates::Rates;
use crate::{
    cli::{printer::Style, status::style},
    model::{Admin, Health, Name},
    status::{InstanceStatus, ServiceStatus},
};

/// Which one it is, whatever its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Id {
    pub(super) service: Name,
    /// None: the service as a whole.
    pub(super) instance: Option<Name>,
}

/// What is known of it. What cannot be known is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) id: Id,
    pub(super) admin: Option<Admin>,
    pub(super) backup: Option<bool>,
    pub(super) health: Option<Health>,
    pub(super) listening: Option<bool>,
    /// Part of the new connections that should go to it: 0 to 1.
    pub(super) share: Option<f64>,
    /// Picks a second since the look before.
    pub(super) rate: Option<f64>,
    pub(super) picked: Option<u64>,
    pub(super) active: Option<u64>,
    pub(super) accept_queue: Option<u64>,
    pub(super) failovers: Option<u64>,
    #[serde(skip)]
    pub(super) style: Style,
}

impl Row {
    /// A service as a whole: what can be added up is added up.
    pub(super) fn service(service: &ServiceStatus, rates: &Rates) -> Self {
        let id = Id { service: service.name.clone(), instance: None };
        let total = |figure: fn(&InstanceStatus) -> Option<u64>| {
            service.instances.iter().map(figure).fold(None, |all, one| match (all, one) {
                (None, one) => one,
                (all, None) => all,
                (Some(all), Some(one)) => Some(all + one),
            })
        };
        Self {
            rate: rates.last(&id),
            id,
            admin: None,
            backup: None,
            health: None,
            listening: None,
            share: None,
            picked: service.picks,
            active: total(|instance| instance.active),
            accept_queue: total(|instance| instance.accept_queue.map(Into::into)),
            failovers: total(|instance| instance.failovers),
            style: Style::Plain,
        }
    }

    /// One instance of it.
    pub(super) fn instance(service: &ServiceStatus, instance: &InstanceStatus, rates: &Rates) -> Self {
        let id = Id { service: service.name.clone(), instance: Some(instance.name.clone()) };
        Self {
            rate: rates.last(&id),
            id,
            admin: Some(instance.admin),
            backup: Some(instance.backup),
            health: Some(instance.health),
            listening: instance.listening,
            share: Some(instance.share),
            picked: instance.picked,
            active: instance.active,
            accept_queue: instance.accept_queue.map(Into::into),
            failovers: instance.failovers,
            style: style(instance),
        }
    }

    /// What is printed of it, but for its name.
    pub(super) fn cells(&self) -> [String; 8] {
        let admin = self.admin.map(|admin| match (admin, self.backup) {
            (Admin::Ready, Some(true)) => "backup".into(),
            _ => admin.to_string(),
        });
        let listens = self.listening.map(|listening| if listening { "yes" } else { "no" });
        [
            text(admin),
            text(self.health),
            text(listens),
            text(self.share.map(|share| format!("{:.1}%", share * 100.0))),
            text(self.rate.map(|rate| format!("{rate:.1}"))),
            text(self.active),
            text(self.accept_queue),
            text(self.failovers),
        ]
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// What stands over the cells.
pub(super) const HEADER: [&str; 8] =
    ["ADMIN", "HEALTH", "LISTENS", "SHARE", "PICKS/S", "ACTIVE", "QUEUE", "FAILOVERS"];
/// How many characters they take. The first three are words, the others figures.
pub(super) const WIDTHS: [usize; 8] = [6, 7, 7, 6, 8, 7, 6, 9];
/// How many of them are words.
pub(super) const WORDS: usize = 3;

#[cfg(test)]
mod tests {
    use super::Row;
    use crate::cli::{
        printer::Style,
        top::{fixture::web, rates::Rates},
    };

    #[test]
    fn service_adds_up_what_its_instances_know() {
        let mut service = web();
        let row = Row::service(&service, &Rates::default());
        assert_eq!((row.active, row.accept_queue, row.failovers), (Some(7), Some(3), Some(4)));
        for instance in &mut service.instances {
            (instance.active, instance.failovers) = (None, None);
        }
        let row = Row::service(&service, &Rates::default());
        assert_eq!((row.active, row.failovers), (None, None));
        assert_eq!(row.cells(), ["-", "-", "-", "-", "-", "-", "3", "-"]);
    }

    #[test]
    fn instance_has_the_words_of_status() {
        let service = web();
        let rows: Vec<Row> =
            service.instances.iter().map(|one| Row::instance(&service, one, &Rates::default())).collect();
        assert_eq!(rows[0].cells(), ["ready", "up", "yes", "75.0%", "-", "5", "0", "0"]);
        assert_eq!(rows[1].cells(), ["backup", "unknown", "yes", "25.0%", "-", "2", "3", "1"]);
        assert_eq!(rows[2].cells(), ["drain", "down", "no", "0.0%", "-", "-", "-", "3"]);
        assert_eq!(rows[2].style, Style::Bad);
    }

    #[test]
    fn json_has_a_place_for_every_figure() {
        let service = web();
        let row = Row::instance(&service, &service.instances[2], &Rates::default());
        assert_eq!(
            serde_json::to_value(row).unwrap(),
            serde_json::json!({
                "service": "web", "instance": "c", "admin": "drain", "backup": false, "health": "down",
                "listening": false, "share": 0.0, "rate": null, "picked": 40, "active": null,
                "accept_queue": null, "failovers": 3,
            })
        );
    }
}
