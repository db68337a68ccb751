use std::time::Duration;

use super::{Cluster, Event, Rules};

#[test]
fn all_workers_start_at_once_and_serve_when_they_are_ready() {
    let mut cluster = Cluster::new(Rules::default(), 3);
    assert_eq!(cluster.tell(Event::Start), "spawn 1@0, spawn 2@1, spawn 3@2");
    assert_eq!(cluster.ready(2), "serve 2");
    assert_eq!(cluster.ready(1), "serve 1");
    assert_eq!(cluster.ready(1), "");
    assert_eq!(cluster.machine.serving(), 2);
}

#[test]
fn worker_that_ends_is_started_again_with_its_index() {
    let mut cluster = Cluster::steady(Rules::default(), 2);
    assert_eq!(cluster.exited(2), "forget 2");
    assert_eq!(cluster.after(Duration::from_millis(99)), "");
    assert_eq!(cluster.after(Duration::from_millis(1)), "spawn 3@1");
    assert_eq!(cluster.news(), "worker 1 failed: exit 1; it starts again in 100ms");
}

#[test]
fn pauses_grow_while_it_fails_and_start_over_once_it_served_for_long() {
    let mut cluster = Cluster::new(Rules::default(), 1);
    cluster.tell(Event::Start);
    let mut pauses = Vec::new();
    for id in 1..=3 {
        assert_eq!(cluster.ready(id), format!("serve {id}"));
        assert_eq!(cluster.exited(id), format!("forget {id}"));
        let before = cluster.now;
        assert_eq!(cluster.wait(), format!("spawn {}@0", id + 1));
        pauses.push((cluster.now - before).as_millis());
    }
    assert_eq!(pauses, [100, 200, 400]);
    cluster.ready(4);
    assert_eq!(cluster.after(Duration::from_mins(1)), "");
    cluster.exited(4);
    assert_eq!(cluster.after(Duration::from_millis(100)), "spawn 5@0");
    cluster.exited(5);
    assert_eq!(cluster.after(Duration::from_millis(100)), "spawn 6@0");
}

#[test]
fn worker_that_does_not_come_up_is_ended_and_started_again() {
    let mut cluster = Cluster::new(Rules::default(), 1);
    cluster.tell(Event::Start);
    assert_eq!(cluster.not_ready(1), "term 1");
    assert_eq!(cluster.after(Duration::from_millis(100)), "spawn 2@0");
    // One is enough: its end is no second failure.
    assert_eq!(cluster.exited(1), "forget 1");
    assert_eq!(cluster.not_ready(1), "");
    assert_eq!(cluster.ready(2), "serve 2");
}

#[test]
fn worker_that_ignores_sigterm_is_killed() {
    let mut cluster = Cluster::new(Rules::default(), 1);
    cluster.tell(Event::Start);
    cluster.not_ready(1);
    assert_eq!(cluster.after(Duration::from_millis(4999)), "spawn 2@0");
    assert_eq!(cluster.after(Duration::from_millis(1)), "kill 1");
    assert_eq!(cluster.after(Duration::from_hours(1)), "");
    assert_eq!(cluster.exited(1), "forget 1");
}

#[test]
fn others_go_on_when_one_index_is_given_up() {
    let mut cluster = Cluster::new(Rules { give_up: 2, ..Rules::default() }, 2);
    cluster.tell(Event::Start);
    cluster.ready(1);
    cluster.exited(2);
    assert_eq!(cluster.wait(), "spawn 3@1");
    assert_eq!(cluster.exited(3), "forget 3");
    assert!(cluster.news().contains("worker 1 failed too often, the last time: exit 1"));
    assert!(cluster.machine.has_given_up(1));
    assert_eq!(cluster.after(Duration::from_hours(1)), "");
    assert_eq!(cluster.machine.next_deadline(), None);
    cluster.exited(1);
    assert_eq!(cluster.wait(), "spawn 4@0");
}

#[test]
fn it_ends_with_an_error_when_every_index_is_given_up() {
    let mut cluster = Cluster::new(Rules { give_up: 1, ..Rules::default() }, 2);
    cluster.tell(Event::Start);
    assert_eq!(cluster.not_ready(1), "term 1");
    assert_eq!(cluster.exited(2), "forget 2");
    assert_eq!(cluster.exited(1), "forget 1, gave up");
    assert_eq!(cluster.tell(Event::Stop), "");
}

#[test]
fn nobody_is_told_that_workers_serve_when_the_last_index_is_given_up() {
    let mut cluster = Cluster::new(Rules { give_up: 1, ..Rules::default() }, 2);
    cluster.tell(Event::Start);
    cluster.exited(1);
    cluster.news();
    assert_eq!(cluster.exited(2), "forget 2, gave up");
    assert_eq!(cluster.news(), "worker 1 failed too often, the last time: exit 1");
}

#[test]
fn reload_tries_an_index_again_that_was_given_up() {
    let mut cluster = Cluster::new(Rules { give_up: 1, ..Rules::default() }, 2);
    cluster.tell(Event::Start);
    cluster.ready(1);
    cluster.exited(2);
    assert_eq!(cluster.tell(Event::Reload), "spawn 3@0, spawn 4@1");
}
