use std::time::Duration;

use super::{Cluster, Event, Rules};
use crate::cluster::{rules::RetireRate, size::Marks};

fn limited() -> Rules {
    Rules { memory: Some(100), ..Rules::default() }
}

fn total() -> Rules {
    Rules { total: Some(Marks { low: 200, high: 300 }), ..Rules::default() }
}

fn rate(most: usize) -> RetireRate {
    RetireRate { most: most.try_into().unwrap(), window: Duration::from_mins(2) }
}

#[test]
fn worker_over_its_limit_is_replaced_first_and_then_retired() {
    let mut cluster = Cluster::steady(limited(), 2);
    assert_eq!(cluster.memory(&[(1, 100), (2, 101)]), "spawn 3@1");
    assert_eq!(cluster.news(), "worker 1 is retired: it uses more memory than one worker may");
    assert_eq!(cluster.memory(&[(2, 102)]), "");
    assert_eq!(cluster.ready(3), "serve 3 for 2, renice 2");
    assert_eq!(cluster.unconnected(2), "term 2");
}

#[test]
fn worker_over_its_limit_serves_on_while_its_replacement_fails() {
    let mut cluster = Cluster::steady(Rules { give_up: 2, ..limited() }, 1);
    cluster.memory(&[(1, 101)]);
    assert_eq!(cluster.exited(2), "forget 2");
    assert_eq!(cluster.wait(), "spawn 3@0");
    assert_eq!(cluster.exited(3), "forget 3");
    assert_eq!(cluster.wait(), "spawn 4@0");
    assert_eq!(cluster.machine.serving(), 1);
    assert_eq!(cluster.ready(4), "serve 4 for 1, renice 1");
}

#[test]
fn workers_over_their_limit_are_replaced_one_at_a_time() {
    let mut cluster = Cluster::steady(limited(), 3);
    assert_eq!(cluster.memory(&[(1, 101), (2, 101), (3, 101)]), "spawn 4@0");
    assert_eq!(cluster.ready(4), "serve 4 for 1, renice 1, spawn 5@1");
}

#[test]
fn worker_that_waits_for_its_turn_is_spared_when_it_uses_less() {
    let mut cluster = Cluster::steady(limited(), 2);
    cluster.memory(&[(1, 101), (2, 101)]);
    cluster.memory(&[(2, 50)]);
    assert_eq!(cluster.ready(3), "serve 3 for 1, renice 1");
}

#[test]
fn so_many_retirements_in_a_window_and_the_next_ones_after_it() {
    let mut cluster = Cluster::steady(Rules { retire_rate: rate(1), ..limited() }, 3);
    assert_eq!(cluster.memory(&[(1, 101), (2, 101)]), "spawn 4@0");
    assert_eq!(cluster.after(Duration::from_secs(10)), "");
    assert_eq!(cluster.ready(4), "serve 4 for 1, renice 1");
    cluster.unconnected(1);
    cluster.exited(1);
    assert_eq!(cluster.after(Duration::from_millis(109_999)), "");
    assert_eq!(cluster.after(Duration::from_millis(1)), "spawn 5@1");
}

#[test]
fn hung_worker_is_drained_while_its_replacement_comes_up() {
    let mut cluster = Cluster::steady(Rules::default(), 2);
    assert_eq!(cluster.hangs(1), "drain 1, renice 1, spawn 3@0");
    assert_eq!(cluster.news(), "worker 0 is retired: it missed its watchdog");
    assert_eq!(cluster.ready(3), "serve 3");
}

#[test]
fn last_worker_serves_on_though_it_hangs() {
    let mut cluster = Cluster::steady(Rules::default(), 2);
    cluster.hangs(1);
    assert_eq!(cluster.hangs(2), "spawn 4@1");
    assert_eq!(cluster.ready(3), "serve 3, drain 2, renice 2");
    assert_eq!(cluster.ready(4), "serve 4");
}

#[test]
fn not_all_workers_are_drained_because_all_of_them_hang() {
    let mut cluster = Cluster::steady(Rules { retire_rate: rate(2), ..Rules::default() }, 5);
    let drained: Vec<_> = (1..=5).map(|id| cluster.hangs(id)).collect();
    assert_eq!(drained[..2], ["drain 1, renice 1, spawn 6@0", "drain 2, renice 2, spawn 7@1"]);
    assert_eq!(drained[2..], ["", "", ""]);
    assert_eq!(cluster.machine.serving(), 3);
}

#[test]
fn fattest_worker_goes_when_all_use_too_much() {
    let mut cluster = Cluster::steady(total(), 3);
    assert_eq!(cluster.memory(&[(1, 100), (2, 110), (3, 90)]), "");
    assert_eq!(cluster.memory(&[(3, 91)]), "spawn 4@1");
    assert_eq!(cluster.ready(4), "serve 4 for 2, renice 2");
}

#[test]
fn fat_workers_go_one_after_the_other_until_under_the_low_mark() {
    let mut cluster = Cluster::steady(total(), 3);
    cluster.memory(&[(1, 150), (2, 140), (3, 130)]);
    cluster.ready(4);
    cluster.unconnected(1);
    // Its memory is free when it has ended, and not before; 270 are left.
    assert_eq!(cluster.exited(1), "forget 1, spawn 5@1");
    cluster.ready(5);
    cluster.unconnected(2);
    assert_eq!(cluster.exited(2), "forget 2");
    assert_eq!(cluster.memory(&[(3, 250)]), "");
    assert_eq!(cluster.memory(&[(3, 301)]), "spawn 6@2");
}

#[test]
fn reload_is_not_held_for_a_lack_of_memory() {
    let mut cluster = Cluster::steady(total(), 2);
    cluster.tell(Event::Reload);
    assert_eq!(cluster.memory(&[(1, 150), (2, 140), (3, 130)]), "");
    assert_eq!(cluster.ready(3), "serve 3 for 1, renice 1, spawn 4@1");
    // What is retired frees its memory by itself.
    assert_eq!(cluster.ready(4), "serve 4 for 2, renice 2");
    assert_eq!(cluster.after(Duration::from_secs(1)), "");
}
