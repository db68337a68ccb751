//! Watching picks, and what watching leaves behind.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::{Held, silent};
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::must::Must as _;
use wocut_tests::pins::{lookup_links, program_ids};
use wocut_tests::sockets::{AcceptQueue, accept_queue};
use wocut_tests::wait::wait_until;
use wocut_tests::watch::Watched;

const FIRST: &str = "first choice";

/// Starts a trace and waits until picks are being seen: its program is the second in the namespace.
fn trace(host: &Host, arguments: &str) -> Watched {
    let watched = host.watch(&format!("trace {arguments}"));
    wait_until("the trace is attached", Duration::from_secs(10), || {
        lookup_links(&host.lan.server).len() == 2
    });
    watched
}

/// A line of a trace.
#[derive(Debug, Eq, PartialEq)]
struct Pick {
    service: String,
    instance: String,
    why: String,
}

/// The picks of a trace that has ended by itself, by client.
#[track_caller]
fn picks(watched: Watched) -> BTreeMap<SocketAddr, Pick> {
    let (code, lines) = watched.end();
    assert_eq!(code, Some(0), "{lines:?}");
    let pick = |line: &String| {
        let mut words = line.split_whitespace().map(ToOwned::to_owned);
        let mut next = || words.next().must("read a word");
        let client = next().parse().must("read the client");
        let (service, instance) = (next(), next());
        (client, Pick { service, instance, why: words.collect::<Vec<_>>().join(" ") })
    };
    let picks: BTreeMap<_, _> = lines.iter().map(pick).collect();
    assert_eq!(picks.len(), lines.len(), "a client has two lines: {lines:?}");
    picks
}

/// Opens so many connections, and gives who answered which client.
fn connect(host: &Host, family: Family, connections: usize) -> BTreeMap<SocketAddr, u16> {
    let open = |_| Held::open(&host.lan.client, host.lan.at(family, SERVICE)).answer;
    (0..connections).map(open).map(|answer| (answer.own, answer.instance)).collect()
}

/// Traces connections of both families; each has a line that tells the truth of it. Gives the reasons.
fn explained(host: &Host) -> Vec<String> {
    let explain = |family| {
        let watched = trace(host, "web --count 50");
        let answers = connect(host, family, 50);
        let picks = picks(watched);
        assert!(picks.keys().eq(answers.keys()), "not {answers:?} but {picks:?}");
        let told = picks.into_values().zip(answers.into_values()).map(|(pick, instance)| {
            assert_eq!((pick.service.as_str(), &pick.instance), ("web", &instance.to_string()), "{pick:?}");
            pick.why
        });
        told.collect::<Vec<_>>()
    };
    Family::BOTH.into_iter().flat_map(explain).collect()
}

/// Fails the test unless both reasons, and no other, were given.
#[track_caller]
fn only_reasons(mut reasons: Vec<String>, expected: [&str; 2]) {
    reasons.sort();
    reasons.dedup();
    assert_eq!(reasons, expected);
}

engines! { trace_tells_client_service_instance_and_reason: ebpf }
fn trace_tells_client_service_instance_and_reason(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    host.attach("web 80/tcp to 8001 8002 8003");
    let reasons = explained(&host);
    assert!(reasons.iter().all(|why| why == FIRST), "{reasons:?}");
    daemons.remove(0).kill();
    only_reasons(explained(&host), ["failover: 8001 is not listening", FIRST]);
}

engines! { trace_tells_of_a_full_accept_queue: ebpf }
fn trace_tells_of_a_full_accept_queue(engine: Engine) {
    let host = Host::new(engine);
    let hung = Daemon::python_with(&host.lan.server, Listen { backlog: 4, ..Listen::on(8001) });
    let _others = Daemon::pythons(&host.lan.server, 8002..=8003);
    host.attach("web 80/tcp to 8001 8002 8003");
    hung.stop();
    let mut waiting = Vec::new();
    wait_until("the accept queue of the stopped instance is full", Duration::from_secs(10), || {
        waiting.extend(silent(&host.lan.client, host.lan.at(Family::V4, SERVICE), 8));
        accept_queue(&host.lan.server, 8001).is_some_and(AcceptQueue::is_full)
    });
    only_reasons(explained(&host), ["failover: 8001 has a full accept queue", FIRST]);
}

engines! { trace_tells_of_a_listener_that_was_shut: ebpf }
fn trace_tells_of_a_listener_that_was_shut(engine: Engine) {
    let host = Host::new(engine);
    let daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    host.attach("web 80/tcp to 8001 8002 8003");
    daemons[0].shut(&host.lan.server, 8001);
    only_reasons(explained(&host), ["failover: 8001 is not listening", FIRST]);
}

engines! { trace_tells_of_picks_that_nobody_serves: ebpf }
fn trace_tells_of_picks_that_nobody_serves(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001");
    for (command, reason) in
        [("ready web 8001", "failover: 8001 is not listening"), ("drain web 8001", "no instance can take it")]
    {
        host.wocut(command).ok();
        let watched = trace(&host, "web --count 1");
        assert_eq!(host.burst(Family::V4, 1).failures.len(), 1);
        let (code, lines) = watched.end();
        assert_eq!((code, lines.len()), (Some(0), 1), "{lines:?}");
        assert!(lines[0].contains("(nobody)") && lines[0].ends_with(reason), "{lines:?}");
    }
}

engines! { trace_prints_a_json_object_a_pick: ebpf }
fn trace_prints_a_json_object_a_pick(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.attach("web 80/tcp to 8001 canary=8002");
    for family in Family::BOTH {
        let watched = trace(&host, "web --count 20 --json");
        let answers = connect(&host, family, 20);
        let (code, lines) = watched.end();
        assert_eq!(code, Some(0));
        let object = |line: &String| serde_json::from_str(line).must("read a line as JSON");
        let mut told: Vec<Value> = lines.iter().map(object).collect();
        told.sort_by_key(|pick| pick["client"].as_str().and_then(|client| client.parse::<SocketAddr>().ok()));
        let expected = answers.into_iter().map(|(client, instance)| {
            let name = if instance == 8002 { "canary" } else { "8001" };
            json!({"client": client, "service": "web", "instance": name, "why": FIRST})
        });
        assert_eq!(told, expected.collect::<Vec<_>>());
    }
}

engines! { trace_of_one_service_shows_no_other: ebpf }
fn trace_of_one_service_shows_no_other(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.attach("web 80/tcp to 8001");
    host.attach("api 81/tcp to 8002");
    for (arguments, services) in [("api --count 1", &["api"][..]), ("--count 2", &["web", "api"])] {
        let watched = trace(&host, arguments);
        let opened = [80, 81].map(|port| Held::open(&host.lan.client, host.lan.at(Family::V4, port)));
        let picks = picks(watched);
        let told = opened.iter().filter_map(|held| picks.get(&held.answer.own));
        assert_eq!(told.map(|pick| pick.service.as_str()).collect::<Vec<_>>(), services, "{picks:?}");
    }
}

engines! { killed_trace_leaves_no_program_behind: ebpf }
fn killed_trace_leaves_no_program_behind(engine: Engine) {
    let host = Host::new(engine);
    let server = &host.lan.server;
    let _daemons = Daemon::pythons(server, 8001..=8002);
    host.attach("web 80/tcp to 8001 8002");
    let kept = || (lookup_links(server), program_ids(server));
    let before = kept();
    assert_eq!(before.0.len(), 1, "one program while nobody looks");
    for _ in 0..3 {
        let watched = trace(&host, "web");
        host.burst_both(20).no_failure();
        assert_eq!(program_ids(server).len(), before.1.len() + 1);
        // This is `kill -9`.
        drop(watched);
        wait_until("the trace leaves nothing behind", Duration::from_secs(5), || kept() == before);
        host.burst_both(20).no_failure();
    }
    let watched = trace(&host, "web --count 1");
    host.burst(Family::V4, 1).no_failure();
    assert_eq!(watched.end().0, Some(0));
    wait_until("the trace leaves nothing behind", Duration::from_secs(5), || kept() == before);
}
