//! The harness itself, without wocut: what it cannot see, no other test here can.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use wocut_tests::commands::Commands;
use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::figures::note;
use wocut_tests::held::{Held, silent};
use wocut_tests::host::SERVICE;
use wocut_tests::lan::{Family, Lan};
use wocut_tests::load::{Load, burst};
use wocut_tests::must::Must as _;
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::netns::Netns;
use wocut_tests::processes::{processes, signal};
use wocut_tests::requests::{Ends, Requests, ask};
use wocut_tests::sockets::{AcceptQueue, accept_queue};
use wocut_tests::stats::{LEAST_P, p_value};
use wocut_tests::wait::wait_until;

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

#[test]
fn servers_finish_what_they_have_begun_when_they_are_told_to_end() {
    need!(tool("node"));
    need!(tool("nginx"));
    let (lan, commands) = (Lan::new(), Commands::new());
    for command in [commands.python("v1"), commands.node("v1"), commands.nginx()] {
        let words = command.iter().map(|word| word.replace("{port}", "80")).collect::<Vec<_>>();
        let daemon = Daemon::start(lan.server.command(&words[0]).args(&words[1..]).env("PORT", "80"));
        wait_until("it listens", Duration::from_secs(10), || accept_queue(&lan.server, SERVICE).is_some());
        let load = Requests::remote(&lan, 500);
        load.go_on(2000);
        let sum = load.stop();
        note(format_args!("{command:?}: {sum}"));
        assert_eq!(sum.no_failure().ports(), [SERVICE]);
        drop(daemon);
        assert_eq!(processes(&lan.server).len(), 0);
    }
}

#[test]
fn request_that_has_begun_is_answered_after_the_end_was_asked_for() {
    let (lan, commands) = (Lan::new(), Commands::new());
    let command = commands.python("v1");
    let daemon = Daemon::start(lan.server.command(&command[0]).args(&command[1..]).env("PORT", "80"));
    wait_until("it listens", Duration::from_secs(10), || accept_queue(&lan.server, SERVICE).is_some());
    let begun = Ends::near(&lan).begin(&lan.client);
    assert_eq!(begun.name, ask(&lan.client, Ends::near(&lan), "/", 1)[0]);
    assert_eq!((begun.name.port, begun.name.id), (SERVICE, daemon.id()));
    signal(daemon.id(), Signal::TERM);
    wait_until("it does not listen", Duration::from_secs(5), || accept_queue(&lan.server, SERVICE).is_none());
    assert!(lan.client.run(|| Ends::near(&lan).get("/")).is_err());
    let name = begun.name.clone();
    assert_eq!(begun.finish().must("have a request answered"), name);
}

#[test]
fn failed_requests_are_counted_by_their_reason() {
    let (lan, commands) = (Lan::new(), Commands::new());
    let command = commands.python("v1");
    let daemon = Daemon::start(lan.server.command(&command[0]).args(&command[1..]).env("PORT", "80"));
    wait_until("it listens", Duration::from_secs(10), || accept_queue(&lan.server, SERVICE).is_some());
    let load = Requests::remote(&lan, 20);
    daemon.kill();
    load.go_on(1000);
    let sum = load.stop();
    assert!(sum.failed() > 900 && sum.to_string().contains("connect: Connection refused"), "{sum}");
}

#[test]
fn namespace_takes_its_processes_with_it() {
    let netns = Netns::new("left");
    let mut left = netns.command("sleep").arg("1h").spawn().must("start a process");
    wait_until("it is there", Duration::from_secs(5), || processes(&netns).contains_key(&left.id()));
    drop(netns);
    assert!(left.wait().must("wait for the process").code().is_none());
}
