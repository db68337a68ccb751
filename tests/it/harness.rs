//! The harness itself, without wocut: what it cannot see, no other test here can.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::held::{Held, silent};
use wocut_tests::host::SERVICE;
use wocut_tests::lan::{Family, Lan};
use wocut_tests::load::{Load, burst};
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::sockets::{AcceptQueue, accept_queue};
use wocut_tests::stats::{LEAST_P, p_value};

#[test]
fn clients_and_daemons_see_each_other() {
    let lan = Lan::new();
    let _daemon = Daemon::python(&lan.server, SERVICE);
    for family in Family::BOTH {
        let tally = burst(&lan.client, lan.at(family, SERVICE), 2000);
        tally.no_failure().only(&[SERVICE]);
        assert_eq!(tally.answered_total(), 2000);
        assert!(tally.strangers.is_empty(), "{:?}", tally.strangers);
        assert_eq!(tally.local_ports.keys().collect::<Vec<_>>(), [&SERVICE]);
    }
}

#[test]
fn nginx_answers_like_the_others() {
    need!(tool("nginx"));
    let lan = Lan::new();
    let _daemon = Daemon::nginx(&lan.server, SERVICE);
    for family in Family::BOTH {
        let tally = burst(&lan.client, lan.at(family, SERVICE), 200);
        tally.no_failure().only(&[SERVICE]);
        assert!(tally.strangers.is_empty(), "{:?}", tally.strangers);
    }
}

#[test]
fn killed_daemon_is_noticed_and_can_be_started_again() {
    let lan = Lan::new();
    let daemon = Daemon::python(&lan.server, SERVICE);
    let mut held = Held::open(&lan.client, lan.at(Family::V4, SERVICE));
    held.alive();
    daemon.kill();
    assert!(held.ping().is_err());
    let refused = burst(&lan.client, lan.at(Family::V4, SERVICE), 10);
    assert_eq!(refused.failures.len(), 10);
    let _daemon = Daemon::python(&lan.server, SERVICE);
    burst(&lan.client, lan.at(Family::V4, SERVICE), 10).no_failure();
}

#[test]
fn stopped_daemon_fills_its_queue_and_goes_on_when_resumed() {
    let lan = Lan::new();
    let daemon = Daemon::python_with(&lan.server, Listen { backlog: 4, ..Listen::on(SERVICE) });
    daemon.stop();
    let waiting = silent(&lan.client, lan.at(Family::V6, SERVICE), 5);
    assert_eq!(waiting.len(), 5);
    assert!(accept_queue(&lan.server, SERVICE).is_some_and(AcceptQueue::is_full));
    daemon.resume();
    burst(&lan.client, lan.at(Family::V6, SERVICE), 10).no_failure();
}

#[test]
fn load_counts_what_it_did() {
    let lan = Lan::new();
    let _daemon = Daemon::python(&lan.server, SERVICE);
    let load = Load::start(&lan.client, &Family::BOTH.map(|family| lan.at(family, SERVICE)), 20);
    load.go_on(500);
    let tally = load.stop();
    assert!(tally.no_failure().answered_total() > 500);
}

#[test]
fn router_forwards_between_its_neighbours() {
    let lan = Lan::with_beyond();
    let beyond = lan.beyond.as_ref().unwrap();
    let _daemon = Daemon::python(beyond, SERVICE);
    for family in Family::BOTH {
        burst(&lan.client, lan.beyond_at(family, SERVICE), 50).no_failure();
    }
}

#[test]
fn nothing_is_left_after_a_panic() {
    let mut made = Vec::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let lan = Lan::new();
        let _daemons = Daemon::pythons(&lan.server, [8001, 8002]);
        made.extend([lan.server.name().to_owned(), lan.client.name().to_owned()]);
        panic!("on purpose");
    }));
    assert!(outcome.is_err());
    assert_eq!(made.len(), 2);
    for name in made {
        assert!(!Path::new("/run/netns").join(name).exists());
    }
}

#[test]
fn chi_square_agrees_with_the_tables() {
    let shares = [(1, 1), (2, 1)].into();
    let fair = p_value(&[(1, 520), (2, 480)].into(), &shares);
    assert!((fair - 0.2059).abs() < 0.0001, "{fair}");
    assert!(p_value(&[(1, 600), (2, 400)].into(), &shares) < LEAST_P);
    assert!(p_value(&[(1, 500), (2, 500), (3, 1)].into(), &shares) < LEAST_P);
}
