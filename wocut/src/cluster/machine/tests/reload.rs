use std::time::Duration;

use super::{Cluster, Event, Rules};

#[test]
fn reload_replaces_one_worker_after_the_other() {
    let mut cluster = Cluster::steady(Rules::default(), 2);
    assert_eq!(cluster.tell(Event::Reload), "spawn 3@0");
    assert_eq!(cluster.ready(3), "serve 3 for 1, renice 1, spawn 4@1");
    assert_eq!(cluster.news(), "generation 2 comes up");
    assert_eq!(cluster.ready(4), "serve 4 for 2, renice 2");
    assert_eq!(cluster.news(), "all workers are of generation 2");
    assert!(!cluster.machine.is_reloading());
}

#[test]
fn as_many_are_replaced_at_once_as_may_be() {
    let rules = Rules { at_once: 2.try_into().unwrap(), ..Rules::default() };
    let mut cluster = Cluster::steady(rules, 3);
    assert_eq!(cluster.tell(Event::Reload), "spawn 4@0, spawn 5@1");
    assert_eq!(cluster.ready(5), "serve 5 for 2, renice 2, spawn 6@2");
}

#[test]
fn retired_worker_is_terminated_when_its_last_connection_is_gone() {
    let mut cluster = Cluster::steady(Rules::default(), 1);
    cluster.tell(Event::Reload);
    cluster.ready(2);
    assert_eq!(cluster.unconnected(2), "");
    assert_eq!(cluster.unconnected(1), "term 1");
    assert_eq!(cluster.unconnected(1), "");
    assert_eq!(cluster.exited(1), "forget 1");
    assert_eq!(cluster.exited(1), "");
}

#[test]
fn retired_worker_is_terminated_and_killed_when_it_takes_too_long() {
    let mut cluster = Cluster::steady(Rules::default(), 1);
    cluster.tell(Event::Reload);
    cluster.ready(2);
    assert_eq!(cluster.after(Duration::from_millis(59_999)), "");
    assert_eq!(cluster.after(Duration::from_millis(1)), "term 1");
    assert_eq!(cluster.after(Duration::from_secs(5)), "kill 1");
    assert_eq!(cluster.exited(1), "forget 1");
}

#[test]
fn new_worker_that_does_not_come_up_stops_the_reload_and_the_old_ones_stay() {
    let rules = Rules { at_once: 2.try_into().unwrap(), ..Rules::default() };
    let mut cluster = Cluster::steady(rules, 3);
    cluster.tell(Event::Reload);
    assert_eq!(cluster.not_ready(4), "term 4, term 5");
    let news = cluster.news();
    assert!(news.ends_with("generation 2 does not come up, the workers before it stay: it does not listen"));
    assert_eq!((cluster.exited(4), cluster.exited(5)), ("forget 4".into(), "forget 5".into()));
    assert_eq!(cluster.after(Duration::from_hours(1)), "");
    assert_eq!(cluster.machine.serving(), 3);
}

#[test]
fn new_worker_that_dies_soon_after_it_served_stops_the_reload() {
    let mut cluster = Cluster::steady(Rules::default(), 3);
    cluster.tell(Event::Reload);
    assert_eq!(cluster.ready(4), "serve 4 for 1, renice 1, spawn 5@1");
    assert_eq!(cluster.exited(4), "forget 4, term 5");
    assert!(cluster.news().contains("generation 2 does not come up"));
    assert_eq!(cluster.after(Duration::from_millis(100)), "spawn 6@0");
    assert_eq!(cluster.ready(6), "serve 6");
}

#[test]
fn old_worker_that_dies_during_a_reload_does_not_stop_it() {
    let mut cluster = Cluster::steady(Rules::default(), 3);
    cluster.tell(Event::Reload);
    assert_eq!(cluster.exited(2), "forget 2");
    assert_eq!(cluster.after(Duration::from_millis(100)), "spawn 5@1");
    assert_eq!(cluster.ready(4), "serve 4 for 1, renice 1, spawn 6@2");
    assert_eq!(cluster.ready(6), "serve 6 for 3, renice 3");
    assert_eq!(cluster.ready(5), "serve 5");
    assert!(cluster.news().ends_with("all workers are of generation 2"));
}

#[test]
fn reload_ends_without_an_index_that_is_given_up_meanwhile() {
    let mut cluster = Cluster::new(Rules { give_up: 1, ..Rules::default() }, 2);
    cluster.tell(Event::Start);
    cluster.ready(1);
    cluster.ready(2);
    cluster.news();
    assert_eq!(cluster.tell(Event::Reload), "spawn 3@0");
    assert_eq!(cluster.exited(2), "forget 2");
    assert!(cluster.machine.has_given_up(1));
    assert_eq!(cluster.ready(3), "serve 3 for 1, renice 1");
    assert!(cluster.news().ends_with("all workers are of generation 2"));
    assert!(!cluster.machine.is_reloading());
}

#[test]
fn old_worker_that_dies_while_its_replacement_comes_up_is_not_started_twice() {
    let mut cluster = Cluster::steady(Rules::default(), 1);
    cluster.tell(Event::Reload);
    assert_eq!(cluster.exited(1), "forget 1");
    assert_eq!(cluster.ready(2), "serve 2");
    assert_eq!(cluster.after(Duration::from_hours(1)), "");
}

#[test]
fn reload_during_a_reload_starts_again_after_it() {
    let mut cluster = Cluster::steady(Rules::default(), 1);
    cluster.tell(Event::Reload);
    assert_eq!((cluster.tell(Event::Reload), cluster.tell(Event::Reload)), Default::default());
    assert_eq!(cluster.ready(2), "serve 2 for 1, renice 1, spawn 3@0");
    assert_eq!(cluster.ready(3), "serve 3 for 2, renice 2");
    assert_eq!(
        cluster.news(),
        "generation 2 comes up; all workers are of generation 2; \
        generation 3 comes up; all workers are of generation 3"
    );
}

#[test]
fn reload_that_waits_is_tried_when_the_one_before_has_failed() {
    let mut cluster = Cluster::steady(Rules::default(), 1);
    cluster.tell(Event::Reload);
    cluster.tell(Event::Reload);
    assert_eq!(cluster.not_ready(2), "term 2, spawn 3@0");
    assert_eq!(cluster.ready(3), "serve 3 for 1, renice 1");
}

#[test]
fn workers_of_an_earlier_master_are_retired_behind_the_new_ones() {
    let mut cluster = Cluster::new(Rules::default(), 2);
    assert_eq!((cluster.adopt(40, 0, true), cluster.adopt(41, 1, true)), Default::default());
    assert_eq!(cluster.tell(Event::Start), "spawn 42@0");
    assert_eq!(cluster.ready(42), "serve 42 for 40, renice 40, spawn 43@1");
    assert_eq!(cluster.ready(43), "serve 43 for 41, renice 41");
    assert_eq!(cluster.news(), "generation 8 comes up; all workers are of generation 8");
}

#[test]
fn workers_of_an_earlier_master_stay_when_the_new_version_does_not_come_up() {
    let mut cluster = Cluster::new(Rules::default(), 2);
    cluster.adopt(40, 0, true);
    cluster.adopt(41, 1, true);
    cluster.tell(Event::Start);
    assert_eq!(cluster.exited(42), "forget 42");
    assert_eq!(cluster.after(Duration::from_hours(1)), "");
    assert_eq!(cluster.machine.serving(), 2);
}

#[test]
fn missing_workers_are_started_at_once_beside_adopted_ones() {
    let mut cluster = Cluster::new(Rules::default(), 3);
    cluster.adopt(41, 1, true);
    assert_eq!(cluster.tell(Event::Start), "spawn 42@0, spawn 43@1, spawn 44@2");
}

#[test]
fn adopted_worker_that_was_retired_goes_on_leaving() {
    let mut cluster = Cluster::new(Rules::default(), 1);
    assert_eq!(cluster.adopt(40, 0, false), "drain 40, renice 40");
    assert_eq!(cluster.tell(Event::Start), "spawn 41@0");
    assert_eq!(cluster.unconnected(40), "term 40");
}

#[test]
fn two_adopted_workers_of_one_index_make_one() {
    let mut cluster = Cluster::new(Rules::default(), 2);
    for (id, index) in [(40, 0), (41, 0), (42, 1), (42, 1)] {
        cluster.adopt(id, index, true);
    }
    assert_eq!(cluster.tell(Event::Start), "spawn 43@0, drain 41, renice 41");
}
