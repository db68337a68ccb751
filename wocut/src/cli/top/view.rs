//! What is on the screen, and what a key makes of it. Pure: no terminal, no kernel, no clock.

use std::{cmp::Reverse, time::Duration};

use ratatui::crossterm::event::KeyCode;

use super::{
    rates::Rates,
    row::{Id, Row},
};
use crate::{
    model::{Admin, Name},
    status::{InstanceStatus, ServiceStatus, Status},
};

/// What the user sees.
#[derive(Debug)]
pub(super) struct View {
    status: Status,
    pub(super) rates: Rates,
    pub(super) sort: Sort,
    /// Part of the names of what is shown.
    pub(super) filter: String,
    /// Whether keys go into the filter.
    pub(super) is_typing: bool,
    /// Kept by name, so that no other one is drained because the order has changed.
    pub(super) selected: Option<Id>,
    /// What the last key or look came to, if that is worth to be known.
    pub(super) message: String,
}

/// What comes first, among the services and among the instances of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// As `status` has them.
    Status,
    Rate,
    Active,
    Queue,
    Failovers,
}

/// What a key asks for that is done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Quit,
    Change(Name, Name, Admin),
}

impl View {
    /// After the first look.
    pub(super) fn new(status: Status) -> Self {
        let mut view = Self {
            status: Status { services: Vec::new(), ..status.clone() },
            rates: Rates::default(),
            sort: Sort::Status,
            filter: String::new(),
            is_typing: false,
            selected: None,
            message: String::new(),
        };
        view.look(Duration::ZERO, status);
        view
    }

    /// After a look that was made so long after the first one.
    pub(super) fn look(&mut self, at: Duration, status: Status) {
        self.rates.look(at, &status);
        self.status = status;
        self.hold_on();
    }

    /// What is shown, in order: each service before its instances.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut services: Vec<_> = self.status.services.iter().filter_map(|one| self.service(one)).collect();
        self.order(&mut services, |(row, _)| row);
        services.into_iter().flat_map(|(row, instances)| [row].into_iter().chain(instances)).collect()
    }

    /// A service and its instances, unless the filter leaves nothing of it.
    fn service(&self, service: &ServiceStatus) -> Option<(Row, Vec<Row>)> {
        let fits = |name: &Name| name.as_str().contains(&self.filter);
        let all = fits(&service.name);
        let shown = service.instances.iter().filter(|instance| all || fits(&instance.name));
        let mut rows: Vec<Row> = shown.map(|one| Row::instance(service, one, &self.rates)).collect();
        self.order(&mut rows, |row| row);
        (all || !rows.is_empty()).then(|| (Row::service(service, &self.rates), rows))
    }

    fn order<T>(&self, all: &mut [T], row: impl Fn(&T) -> &Row) {
        let by = |figure: fn(&Row) -> Option<u64>| move |one: &T| Reverse(figure(row(one)));
        match self.sort {
            Sort::Status => {}
            // Rates are never negative, and then bits are in the order of the numbers.
            Sort::Rate => all.sort_by_key(by(|row| row.rate.map(f64::to_bits))),
            Sort::Active => all.sort_by_key(by(|row| row.active)),
            Sort::Queue => all.sort_by_key(by(|row| row.accept_queue)),
            Sort::Failovers => all.sort_by_key(by(|row| row.failovers)),
        }
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: KeyCode) -> Option<Asked> {
        self.message.clear();
        if self.is_typing {
            self.typed(key);
            return None;
        }
        match key {
            KeyCode::Char('q') => return Some(Asked::Quit),
            KeyCode::Char('j') | KeyCode::Down => self.go(|at| at + 1),
            KeyCode::Char('k') | KeyCode::Up => self.go(|at| at.saturating_sub(1)),
            KeyCode::Home => self.go(|_| 0),
            KeyCode::End => self.go(|_| usize::MAX),
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('d') => return self.change(Admin::Drain),
            KeyCode::Char('r') => return self.change(Admin::Ready),
            _ => {}
        }
        self.hold_on();
        None
    }

    fn typed(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) if self.filter.len() < Name::MAX => self.filter.push(letter),
            _ => {}
        }
        self.hold_on();
    }

    fn change(&mut self, admin: Admin) -> Option<Asked> {
        let Some(Id { service, instance: Some(instance) }) = &self.selected else {
            self.message = "select an instance first".into();
            return None;
        };
        Some(Asked::Change(service.clone(), instance.clone(), admin))
    }

    fn go(&mut self, to: impl Fn(usize) -> usize) {
        let rows = self.rows();
        let to = to(self.place(&rows).unwrap_or_default()).min(rows.len().saturating_sub(1));
        self.selected = rows.into_iter().nth(to).map(|row| row.id);
    }

    /// Selects the first one where the selected one is not shown any more.
    fn hold_on(&mut self) {
        let rows = self.rows();
        if self.place(&rows).is_none() {
            self.selected = rows.into_iter().next().map(|row| row.id);
        }
    }

    /// Where the selected one is among these.
    pub(super) fn place(&self, rows: &[Row]) -> Option<usize> {
        rows.iter().position(|row| Some(&row.id) == self.selected.as_ref())
    }

    /// The service, and the instance if it is one, that is selected.
    pub(super) fn picked_out(&self) -> Option<(&ServiceStatus, Option<&InstanceStatus>)> {
        let Id { service, instance } = self.selected.as_ref()?;
        let service = self.status.services.iter().find(|one| one.name == *service)?;
        let instance = instance.as_ref();
        let instance = instance.and_then(|name| service.instances.iter().find(|one| one.name == *name));
        Some((service, instance))
    }

    /// How many services and instances there are, shown or not.
    pub(super) fn counts(&self) -> (usize, usize) {
        let services = &self.status.services;
        (services.len(), services.iter().map(|service| service.instances.len()).sum())
    }
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Status => Self::Rate,
            Self::Rate => Self::Active,
            Self::Active => Self::Queue,
            Self::Queue => Self::Failovers,
            Self::Failovers => Self::Status,
        }
    }

    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Status => "as in status",
            Self::Rate => "picks/s",
            Self::Active => "active",
            Self::Queue => "queue",
            Self::Failovers => "failovers",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::crossterm::event::KeyCode;

    use super::{Asked, View};
    use crate::{
        cli::top::fixture::{id, service, status, web},
        model::Admin,
    };

    fn two_services() -> View {
        let before = vec![web(), service("api", &[("slow", 0), ("fast", 0)])];
        let after = vec![web(), service("api", &[("slow", 10), ("fast", 90)])];
        let mut view = View::new(status(before));
        view.look(Duration::from_secs(1), status(after));
        view
    }

    fn shown(view: &View) -> String {
        let name =
            |row: super::Row| row.id.instance.map_or(row.id.service.to_string(), |one| format!("/{one}"));
        view.rows().into_iter().map(name).collect::<Vec<_>>().join(" ")
    }

    fn press(view: &mut View, keys: &str) -> Option<Asked> {
        keys.chars().map(|key| view.key(KeyCode::Char(key))).last().unwrap()
    }

    #[test]
    fn services_stand_before_their_instances_in_the_order_of_status() {
        assert_eq!(shown(&two_services()), "web /a /b /c api /slow /fast");
    }

    #[test]
    fn sorting_puts_the_largest_first_and_unknown_last() {
        let mut view = two_services();
        press(&mut view, "s");
        assert_eq!(shown(&view), "api /fast /slow web /a /b /c");
        press(&mut view, "s");
        assert_eq!(shown(&view), "web /a /b /c api /slow /fast");
        press(&mut view, "s");
        assert_eq!(shown(&view), "web /b /a /c api /slow /fast");
        press(&mut view, "s");
        assert_eq!(shown(&view), "web /c /b /a api /slow /fast");
        press(&mut view, "s");
        assert_eq!(shown(&view), "web /a /b /c api /slow /fast");
    }

    #[test]
    fn selection_stays_with_its_instance_when_the_order_changes() {
        let mut view = two_services();
        assert_eq!(view.selected, Some(id("web")));
        press(&mut view, "jjjjj");
        assert_eq!(view.selected, Some(id("api/slow")));
        let change = Asked::Change("api".parse().unwrap(), "slow".parse().unwrap(), Admin::Drain);
        assert_eq!(press(&mut view, "sd"), Some(change));
    }

    #[test]
    fn selection_ends_at_both_ends() {
        let mut view = two_services();
        press(&mut view, "kk");
        assert_eq!(view.selected, Some(id("web")));
        view.key(KeyCode::End);
        assert_eq!(view.selected, Some(id("api/fast")));
        view.key(KeyCode::Down);
        assert_eq!(view.selected, Some(id("api/fast")));
        view.key(KeyCode::Home);
        assert_eq!(view.selected, Some(id("web")));
    }

    #[test]
    fn selection_goes_to_the_first_one_when_its_own_is_gone() {
        let mut view = two_services();
        view.key(KeyCode::End);
        view.look(Duration::from_secs(2), status(vec![web()]));
        assert_eq!(view.selected, Some(id("web")));
        view.look(Duration::from_secs(3), status(Vec::new()));
        assert_eq!(view.selected, None);
        assert_eq!(press(&mut view, "jkd"), None);
    }

    #[test]
    fn service_as_a_whole_is_neither_drained_nor_made_ready() {
        let mut view = two_services();
        assert_eq!(press(&mut view, "d"), None);
        assert_eq!(view.message, "select an instance first");
        press(&mut view, "j");
        assert_eq!(view.message, "");
        let ready = Asked::Change("web".parse().unwrap(), "a".parse().unwrap(), Admin::Ready);
        assert_eq!(press(&mut view, "r"), Some(ready));
    }

    #[test]
    fn filter_keeps_services_of_that_name_whole_and_instances_of_that_name() {
        let mut view = two_services();
        press(&mut view, "/web");
        assert_eq!(shown(&view), "web /a /b /c");
        view.key(KeyCode::Esc);
        assert_eq!(shown(&view), "web /a /b /c api /slow /fast");
        press(&mut view, "/slow");
        assert_eq!(shown(&view), "api /slow");
        assert_eq!(view.selected, Some(id("api")));
        view.key(KeyCode::Backspace);
        press(&mut view, "x");
        assert_eq!(shown(&view), "");
    }

    #[test]
    fn keys_are_letters_while_a_filter_is_typed() {
        let mut view = two_services();
        assert_eq!(press(&mut view, "/qd"), None);
        assert_eq!((view.filter.as_str(), view.is_typing), ("qd", true));
        view.key(KeyCode::Enter);
        assert_eq!(press(&mut view, "q"), Some(Asked::Quit));
        assert_eq!(view.filter, "qd");
    }
}
