use std::time::Duration;

use super::{Cluster, Event, Rules, WorkerId};

#[test]
fn more_workers_are_started_at_once() {
    let mut cluster = Cluster::steady(Rules::default(), 1);
    assert_eq!(cluster.scale(3), "spawn 2@1, spawn 3@2");
    cluster.ready(2);
    assert_eq!(cluster.news(), "");
    cluster.ready(3);
    assert_eq!(cluster.news(), "3 of 3 workers serve");
}

#[test]
fn fewer_workers_are_those_with_the_lowest_indices() {
    let mut cluster = Cluster::steady(Rules::default(), 4);
    assert_eq!(cluster.scale(2), "drain 4, renice 4, drain 3, renice 3");
    assert_eq!(cluster.news(), "2 of 2 workers serve");
    assert_eq!(cluster.unconnected(3), "term 3");
    assert_eq!(cluster.exited(3), "forget 3");
    assert_eq!(cluster.after(Duration::from_mins(1)), "term 4");
}

#[test]
fn time_of_a_worker_that_cannot_be_drained_runs_when_it_can() {
    let mut cluster = Cluster::steady(Rules::default(), 2);
    cluster.held = true;
    assert_eq!(cluster.scale(1), "drain 2, renice 2");
    assert_eq!(cluster.after(Duration::from_hours(1)), "");
    assert_eq!((cluster.unconnected(2), cluster.machine.next_deadline()), Default::default());
    assert_eq!(cluster.tell(Event::Drained(WorkerId(2))), "");
    assert_eq!(cluster.after(Duration::from_millis(59_999)), "");
    assert_eq!(cluster.after(Duration::from_millis(1)), "term 2");
}

#[test]
fn worker_that_is_too_many_stays_until_enough_others_serve() {
    let mut cluster = Cluster::steady(Rules::default(), 3);
    cluster.exited(1);
    assert_eq!(cluster.scale(2), "spawn 4@0");
    assert_eq!(cluster.news().lines().last(), Some("worker 0 failed: exit 1; it starts again in 100ms"));
    assert_eq!(cluster.ready(4), "serve 4, drain 3, renice 3");
    assert_eq!(cluster.news(), "2 of 2 workers serve");
}

#[test]
fn worker_that_was_too_many_is_wanted_again() {
    let mut cluster = Cluster::steady(Rules::default(), 3);
    cluster.exited(1);
    cluster.scale(2);
    assert_eq!(cluster.scale(3), "");
    assert_eq!(cluster.ready(4), "serve 4");
    assert_eq!(cluster.news().split("; ").last(), Some("3 of 3 workers serve"));
}

#[test]
fn worker_that_comes_up_and_is_too_many_does_not_serve() {
    let mut cluster = Cluster::steady(Rules::default(), 1);
    cluster.scale(2);
    assert_eq!(cluster.scale(1), "term 2");
    assert_eq!(cluster.ready(2), "");
    assert_eq!(cluster.exited(2), "forget 2");
    assert_eq!(cluster.after(Duration::from_hours(1)), "");
}

#[test]
fn scale_ends_with_those_that_can_serve() {
    let mut cluster = Cluster::steady(Rules { give_up: 1, ..Rules::default() }, 1);
    cluster.scale(3);
    cluster.exited(2);
    cluster.ready(3);
    assert!(cluster.news().ends_with("2 of 3 workers serve"));
}

#[test]
fn stop_drains_all_and_ends_with_the_last() {
    let mut cluster = Cluster::steady(Rules::default(), 2);
    cluster.tell(Event::Reload);
    assert_eq!(cluster.tell(Event::Stop), "drain 1, drain 2, term 3");
    assert_eq!(cluster.unconnected(2), "term 2");
    assert_eq!((cluster.exited(2), cluster.exited(3)), ("forget 2".into(), "forget 3".into()));
    assert_eq!(cluster.after(Duration::from_mins(1)), "term 1");
    assert_eq!(cluster.after(Duration::from_secs(5)), "kill 1");
    assert_eq!(cluster.exited(1), "forget 1, finished");
    assert_eq!(cluster.machine.next_deadline(), None);
}

#[test]
fn second_stop_waits_for_no_connections() {
    let mut cluster = Cluster::steady(Rules::default(), 2);
    cluster.tell(Event::Stop);
    assert_eq!(cluster.tell(Event::Stop), "term 1, term 2");
    assert_eq!(cluster.tell(Event::Stop), "");
}

#[test]
fn nobody_is_started_while_it_stops() {
    let mut cluster = Cluster::steady(Rules::default(), 2);
    cluster.exited(1);
    assert_eq!(cluster.tell(Event::Stop), "drain 2");
    assert_eq!((cluster.tell(Event::Reload), cluster.scale(9)), Default::default());
    assert_eq!(cluster.after(Duration::from_secs(1)), "");
}

#[test]
fn all_retired_workers_are_killed_on_demand() {
    let mut cluster = Cluster::steady(Rules::default(), 3);
    cluster.tell(Event::Reload);
    cluster.ready(4);
    cluster.ready(5);
    cluster.unconnected(1);
    assert_eq!(cluster.tell(Event::KillRetired), "kill 1, kill 2");
    assert_eq!(cluster.tell(Event::KillRetired), "");
    assert_eq!(cluster.exited(2), "forget 2");
}

#[test]
fn nothing_begins_before_earlier_workers_are_known() {
    let mut cluster = Cluster::new(Rules::default(), 2);
    assert_eq!((cluster.tell(Event::Reload), cluster.scale(3)), Default::default());
    assert_eq!(cluster.tell(Event::Start), "spawn 1@0, spawn 2@1");
    assert_eq!(cluster.adopt(9, 0, true), "");
}
