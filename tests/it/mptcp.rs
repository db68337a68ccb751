//! Servers whose listeners no socket map takes: an ordinary Go program listens with MPTCP.

use std::collections::BTreeMap;
use std::time::Duration;

use wocut_tests::daemon::{Daemon, python};
use wocut_tests::engine::Engine;
use wocut_tests::go;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::Load;
use wocut_tests::must::Must as _;
use wocut_tests::need::tool;
use wocut_tests::netns::Netns;
use wocut_tests::tally::Tally;
use wocut_tests::tool::run;
use wocut_tests::wait::wait_until;
use wocut_tests::{engines, need};

const ALL: [u16; 3] = [8001, 8002, 8003];

fn start(host: &Host) -> Vec<Daemon> {
    ALL.map(|port| go::server(&host.lan.server, port, "lines")).into()
}

/// Connections by MPTCP, and how many each instance answered.
fn multipath(host: &Host, from: &Netns, family: Family, number: u64) -> BTreeMap<u16, u64> {
    let to =
        if from.name() == host.lan.server.name() { family.loopback() } else { host.lan.at(family, 0).ip() };
    let mut client = python(from, include_str!("../src/mptcp.py"));
    let answers = run(client.args([&to.to_string(), &SERVICE.to_string(), &number.to_string()]));
    let mut found = BTreeMap::new();
    for line in answers.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[4], SERVICE.to_string(), "the daemon's own port as it sees it: {line}");
        *found.entry(words[0].parse().must("read the instance")).or_default() += 1;
    }
    assert_eq!(found.values().sum::<u64>(), number, "{found:?}");
    found
}

/// Fails the test unless wocut's figures are these.
#[track_caller]
fn counted(host: &Host, by: impl Fn(u16) -> u64) {
    let open =
        || host.instances("web").values().filter_map(|instance| instance["active"].as_u64()).sum::<u64>();
    wait_until("the last connection ends", Duration::from_secs(10), || open() == 0);
    let instances = host.instances("web");
    for port in ALL {
        for field in ["picked", "connections"] {
            assert_eq!(instances[&port.to_string()][field], by(port), "{field} of {port}: {instances:?}");
        }
    }
}

engines! { go_servers_are_served_and_counted: ebpf }
fn go_servers_are_served_and_counted(engine: Engine) {
    need!(go::available());
    let host = Host::new(engine);
    let _servers = start(&host);
    host.attach("web 80/tcp to 8001 8002 8003");
    assert_eq!(host.service("web")["hook"], "tc");
    let tally = host.burst_both(600);
    tally.no_failure().only(&ALL);
    assert!(tally.strangers.is_empty(), "{:?}", tally.strangers.first());
    assert_eq!(tally.local_ports.keys().collect::<Vec<_>>(), [&SERVICE]);
    counted(&host, |port| tally.by(port));
    let instances = host.instances("web");
    for port in ALL {
        let figures =
            ["received_bytes", "sent_bytes"].map(|name| instances[&port.to_string()][name].as_u64());
        let (received, sent) = tally.bytes[&port];
        assert_eq!(figures, [Some(received), Some(sent)], "{port}: {instances:?}");
    }
    let mut by = tally.answers;
    for family in Family::BOTH {
        for from in [&host.lan.client, &host.lan.server] {
            let found = multipath(&host, from, family, 100);
            assert!(found.keys().eq(&ALL), "{found:?}");
            for (port, count) in found {
                *by.entry(port).or_default() += count;
            }
        }
    }
    counted(&host, |port| by[&port]);
}

engines! { go_servers_are_drained_killed_and_restarted_without_a_failed_request: ebpf }
fn go_servers_are_drained_killed_and_restarted_without_a_failed_request(engine: Engine) {
    need!(go::available());
    let host = Host::new(engine);
    let mut servers = start(&host);
    host.attach("web 80/tcp to 8001 8002 8003");
    let targets = Family::BOTH.map(|family| host.lan.at(family, SERVICE));
    let load = Load::start(&host.lan.client, &targets, 4);
    host.wocut("drain web 8001").ok();
    load.go_on(200);
    // Those that it had before are over by now, so nobody is on it when it dies.
    let idle = || host.instances("web")["8001"]["active"] == 0;
    wait_until("the drained server is idle", Duration::from_secs(10), idle);
    servers.remove(0).kill();
    load.go_on(200);
    host.wocut("ready web 8001").ok();
    load.go_on(200);
    servers.insert(0, go::server(&host.lan.server, 8001, "lines"));
    load.go_on(200);
    load.stop().no_failure().only(&ALL);
    // Without a drain, and while nothing is under way.
    for family in Family::BOTH {
        servers.remove(2).kill();
        host.burst(family, 200).no_failure().only(&ALL[..2]);
        assert!(multipath(&host, &host.lan.client, family, 100).keys().eq(&ALL[..2]));
        servers.push(go::server(&host.lan.server, 8003, "lines"));
        host.burst(family, 200).no_failure().only(&ALL);
        assert!(multipath(&host, &host.lan.client, family, 100).keys().eq(&ALL));
    }
    assert_eq!(host.service("web")["hook"], "tc");
    assert_eq!(host.service("web")["unserved"], 0);
}

engines! { go_servers_are_served_under_syn_cookies: ebpf }
fn go_servers_are_served_under_syn_cookies(engine: Engine) {
    need!(go::available());
    let host = Host::new(engine);
    host.lan.server.set("ipv4/tcp_syncookies", "2");
    let _servers = start(&host);
    host.attach("web 80/tcp to 8001 8002 8003");
    for family in Family::BOTH {
        let tally: Tally = host.burst(family, 1000);
        assert_eq!(tally.no_failure().only(&ALL).answered_total(), 1000);
        let found = multipath(&host, &host.lan.client, family, 200);
        assert!(found.keys().eq(&ALL), "{found:?}");
    }
    host.wocut("drain web 8002").ok();
    for family in Family::BOTH {
        host.burst(family, 300).no_failure().only(&[8001, 8003]);
        assert!(multipath(&host, &host.lan.client, family, 100).keys().eq(&[8001, 8003]));
    }
}

engines! { go_web_servers_answer_curl: ebpf }
fn go_web_servers_answer_curl(engine: Engine) {
    need!(go::available());
    need!(tool("curl"));
    let host = Host::new(engine);
    let _servers = ALL.map(|port| go::server(&host.lan.server, port, "http"));
    host.attach("web 80/tcp to 8001 8002 8003");
    for family in Family::BOTH {
        let url = format!("http://{}/[1-60]", host.lan.at(family, SERVICE));
        // A connection for each request.
        let mut curl = host.lan.client.command("curl");
        let answers = run(curl.args(["-sSf", "--max-time", "10", "-H", "Connection: close", &url]));
        let found: Vec<u16> = answers.lines().filter_map(|line| line.parse().ok()).collect();
        assert!(found.len() == 60 && ALL.iter().all(|port| found.contains(port)), "{answers}");
    }
    // One connection for all of them.
    let url = format!("http://{}/[1-60]", host.lan.at(Family::V4, SERVICE));
    let answers = run(host.lan.client.command("curl").args(["-sSf", "--max-time", "10", &url]));
    let first = answers.lines().next().must("have an answer");
    assert!(answers.lines().count() == 60 && answers.lines().all(|line| line == first), "{answers}");
}
