//! What wocut says that happened, against what the clients know.

use std::time::Duration;

use serde_json::json;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::must::Must as _;
use wocut_tests::wait::{wait_for, wait_until};

const ALL: [u16; 3] = [8001, 8002, 8003];

engines! { connections_and_bytes_are_counted_exactly: ebpf tc }
fn connections_and_bytes_are_counted_exactly(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003*2");
    let tally = host.burst_both(1000);
    tally.no_failure();
    let active = || {
        host.instances("web")
            .values()
            .map(|instance| instance["active"].as_u64().must("read active"))
            .sum::<u64>()
    };
    wait_until("the last connection ends", Duration::from_secs(5), || active() == 0);
    let instances = host.instances("web");
    for port in ALL {
        let instance = &instances[&port.to_string()];
        let (received, sent) = tally.bytes[&port];
        let expected = [("connections", tally.by(port)), ("received_bytes", received), ("sent_bytes", sent)];
        for (field, number) in expected {
            assert_eq!(instance[field], number, "{field} of {port}: {instance}");
        }
        assert_eq!(instance["picked"], tally.by(port), "a SYN that comes once is picked once: {instance}");
    }
    assert_eq!(host.service("web")["picks"], 1000);
}

engines! { open_connections_are_counted_while_they_are_open: ebpf tc }
fn open_connections_are_counted_while_they_are_open(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003");
    let held = Held::open_on_each(&host.lan.client, host.lan.at(Family::V6, SERVICE), &ALL);
    for port in ALL {
        let open = held.iter().filter(|one| one.answer.instance == port).count();
        assert_eq!(host.instances("web")[&port.to_string()]["active"], open);
    }
}

engines! { failovers_and_unserved_picks_are_counted: ebpf tc }
fn failovers_and_unserved_picks_are_counted(engine: Engine) {
    let host = Host::new(engine);
    let daemon = Daemon::python(&host.lan.server, 8001);
    host.attach("web 80/tcp to 8001 8002");
    host.burst_both(100).no_failure();
    let dead = &host.instances("web")["8002"];
    assert!(dead["failovers"].as_u64().is_some_and(|count| count > 10), "{dead}");
    assert_eq!(dead["picked"], 0, "{dead}");
    assert_eq!(host.service("web")["unserved"], 0);
    daemon.kill();
    assert_eq!(host.burst(Family::V4, 10).failures.len(), 10);
    assert_eq!(host.service("web")["unserved"], 10);
}

engines! { picks_are_counted_from_the_rules: nft legacy }
fn picks_are_counted_from_the_rules(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003*2");
    let tally = host.burst_both(1000);
    tally.no_failure();
    let instances = host.instances("web");
    for port in ALL {
        let instance = &instances[&port.to_string()];
        assert_eq!(instance["picked"], tally.by(port), "{instance}");
        assert_eq!(instance["active"], json!(null), "iptables cannot know: {instance}");
    }
}

engines! { counts_outlive_changes: ebpf tc nft legacy }
fn counts_outlive_changes(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002");
    let before = host.burst_both(200);
    host.wocut("add web 8003").ok();
    host.wocut("weight web 8001 2").ok();
    host.wocut("drain web 8002").ok();
    assert_eq!(host.instances("web")["8001"]["picked"], before.by(8001));
    assert_eq!(host.instances("web")["8002"]["picked"], before.by(8002));
}

engines! { stats_tell_how_likely_the_measured_shares_are: ebpf tc nft legacy }
fn stats_tell_how_likely_the_measured_shares_are(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003");
    host.burst_both(400).no_failure();
    let stats = host.wocut("stats web");
    stats.ok();
    for word in ["8001", "8002", "8003", "chi-square", " p "] {
        assert!(stats.stdout.contains(word), "no {word:?}: {stats}");
    }
}

engines! { trace_shows_picks_as_they_happen: ebpf }
fn trace_shows_picks_as_they_happen(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003");
    for family in Family::BOTH {
        let client = host.lan.client_address(family).to_string();
        let trace = host.watch("trace web");
        let line = wait_for("a pick is shown", Duration::from_secs(10), || {
            host.burst(family, 1).no_failure();
            trace.line()
        });
        assert!(line.contains(&client), "no client in {line:?}");
        assert!(ALL.iter().any(|port| line.contains(&port.to_string())), "no instance in {line:?}");
    }
}
