//! Datagrams of every kind: in fragments, without a checksum, cut by the network card, and each byte of them counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use wocut_tests::daemon::{Daemon, Listen, python};
use wocut_tests::engine::Engine;
use wocut_tests::host::Host;
use wocut_tests::lan::Family;
use wocut_tests::need::tool;
use wocut_tests::netns::Netns;
use wocut_tests::tool::run;
use wocut_tests::udp::{Flow, burst, counted, odd};
use wocut_tests::wait::wait_until;
use wocut_tests::{engines, need};

const DNS: u16 = 53;
const ALL: [u16; 3] = [8001, 8002, 8003];

/// Where clients are, and where they find the service: remote ones and local ones of both families.
fn clients(host: &Host) -> Vec<(&Netns, SocketAddr)> {
    let lan = &host.lan;
    let remote = Family::BOTH.map(|family| (&lan.client, lan.at(family, DNS)));
    let local = Family::BOTH.map(|family| (&lan.server, (family.loopback(), DNS).into()));
    let own = Family::BOTH.map(|family| (&lan.server, lan.at(family, DNS)));
    [remote, local, own].concat()
}

/// Fails the test unless wocut's figures are the daemons' own.
#[track_caller]
fn counts_are_the_daemons(host: &Host) {
    let instances = host.instances("dns");
    for port in ALL {
        let [_, received, sent] = counted(&host.lan.client, host.lan.at(Family::V4, port));
        let instance = &instances[&port.to_string()];
        let figures = ["received_bytes", "sent_bytes"].map(|name| instance[name].as_u64());
        assert_eq!(figures, [Some(received), Some(sent)], "{port}: {instance}");
    }
}

/// Large datagrams both ways, on every instance and from every client.
fn fragments(host: &Host) {
    // Loopback clients too are to see fragments.
    host.lan.server.ip("link set lo mtu 1500");
    for (n, (from, to)) in clients(host).into_iter().enumerate() {
        let first = 10_000 + 200 * u16::try_from(n).unwrap_or_default();
        for flow in Flow::open_on_each(from, first..first + 100, to, &ALL) {
            for (up, down) in [(20_000, 20_000), (1473, 100), (100, 1473), (65_000, 65_000), (1472, 1472)] {
                flow.exchange(up, down);
            }
            flow.stays();
        }
    }
    counts_are_the_daemons(host);
}

engines! { fragmented_datagrams_go_both_ways: ebpf }
fn fragmented_datagrams_go_both_ways(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    fragments(&host);
}

/// Turns features of the wire's network cards on or off.
fn offload(host: &Host, words: &str) {
    for netns in [&host.lan.client, &host.lan.server] {
        run(netns.command("ethtool").args(["-K", "lan1"]).args(words.split_whitespace()));
    }
}

engines! { checksums_may_be_left_to_the_card_or_not: ebpf }
fn checksums_may_be_left_to_the_card_or_not(engine: Engine) {
    need!(tool("ethtool"));
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    for (words, ports) in [("tx off", 1000..1100), ("tx off rx off", 1200..1300), ("tx on rx on", 1400..1500)]
    {
        offload(&host, words);
        for family in Family::BOTH {
            let to = host.lan.at(family, DNS);
            burst(&host.lan.client, ports.clone(), to).no_failure().only(&ALL);
            for flow in Flow::open_on_each(&host.lan.client, ports.end..ports.end + 100, to, &ALL) {
                flow.exchange(20_000, 20_000);
                flow.exchange(1000, 1000);
                // An odd number of bytes is summed up differently.
                flow.exchange(999, 1001);
            }
        }
    }
    counts_are_the_daemons(&host);
}

engines! { datagrams_without_a_checksum_are_served: ebpf }
fn datagrams_without_a_checksum_are_served(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    // IPv6 has none of them.
    for (n, (from, to)) in clients(&host).into_iter().filter(|(_, to)| to.is_ipv4()).enumerate() {
        let port = 10_000 + u16::try_from(n).unwrap_or_default();
        let answers = odd(from, "nocheck", port, to, 20);
        assert!(answers.len() == 20 && answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
    counts_are_the_daemons(&host);
}

engines! { datagrams_sent_many_in_one_call_are_served: ebpf }
fn datagrams_sent_many_in_one_call_are_served(engine: Engine) {
    need!(tool("ethtool"));
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    let mut sent: BTreeMap<bool, usize> = BTreeMap::new();
    // In one packet through the wire, then cut before it.
    for (round, words) in ["tx-udp-segmentation on", "tx-udp-segmentation off"].into_iter().enumerate() {
        offload(&host, words);
        for (n, (from, to)) in clients(&host).into_iter().enumerate() {
            for how in ["segment", "burst"] {
                let port = 10_000 + u16::try_from(100 * round + n).unwrap_or_default();
                let answers = odd(from, how, port, to, 10);
                assert!(
                    answers.len() == 10 && answers.iter().all(|answer| *answer == answers[0]),
                    "{answers:?}"
                );
                *sent.entry(how == "burst").or_default() += 1;
            }
        }
    }
    counts_are_the_daemons(&host);
    let instances = host.instances("dns");
    let flows: u64 = instances.values().filter_map(|instance| instance["connections"].as_u64()).sum();
    assert_eq!(flows, 12, "{sent:?} calls: {instances:?}");
}

engines! { daemons_may_connect_a_socket_to_each_client: ebpf }
fn daemons_may_connect_a_socket_to_each_client(engine: Engine) {
    let host = Host::new(engine);
    let listen = |port| Listen { connected: true, ..Listen::on(port) };
    let _daemons = ALL.map(|port| Daemon::udp_with(&host.lan.server, listen(port)));
    host.attach("dns 53/udp to 8001 8002 8003");
    let mut flows = Vec::new();
    for (n, (from, to)) in clients(&host).into_iter().enumerate() {
        let first = 10_000 + 200 * u16::try_from(n).unwrap_or_default();
        flows.extend(Flow::open_on_each(from, first..first + 100, to, &ALL));
    }
    for change in ["drain dns 8001", "weight dns 8002 7", "add dns 8004", "ready dns 8001"] {
        host.wocut(change).ok();
        flows.iter().for_each(Flow::stays);
    }
    for flow in &flows {
        flow.exchange(20_000, 20_000);
    }
    host.wocut("remove dns 8004").ok();
    counts_are_the_daemons(&host);
}

engines! { flows_and_bytes_are_counted_exactly: ebpf }
fn flows_and_bytes_are_counted_exactly(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002*2 8003 --policy round-robin");
    let mut answered: BTreeMap<u16, u64> = BTreeMap::new();
    for (n, (from, to)) in clients(&host).into_iter().enumerate() {
        let first = 10_000 + 200 * u16::try_from(n).unwrap_or_default();
        let tally = burst(from, first..first + 100, to);
        assert!(tally.no_failure().strangers.is_empty(), "{:?}", tally.strangers.first());
        tally.answers.into_iter().for_each(|(port, count)| *answered.entry(port).or_default() += count);
        // A second datagram of a flow is no pick.
        burst(from, first..first + 100, to).no_failure();
    }
    assert_eq!(answered, [(8001, 150), (8002, 300), (8003, 150)].into(), "they take turns");
    counts_are_the_daemons(&host);
    let instances = host.instances("dns");
    for port in ALL {
        let [received, ..] = counted(&host.lan.client, host.lan.at(Family::V6, port));
        assert_eq!(received, 2 * answered[&port]);
        for field in ["picked", "connections"] {
            assert_eq!(instances[&port.to_string()][field], answered[&port], "{field}: {instances:?}");
        }
    }
    assert_eq!(host.service("dns")["picks"], 600);
}

engines! { kernel_learns_which_replies_fit_through_the_path: ebpf }
fn kernel_learns_which_replies_fit_through_the_path(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    for family in Family::BOTH {
        let (server, client) = (host.lan.at(family, DNS), host.lan.client_address(family));
        let flow = Flow::open(&host.lan.client, 10_000, server);
        let route = || host.lan.server.ip(&format!("route get {client}"));
        let tell = |port: u16| {
            let mut router = python(&host.lan.client, include_str!("../src/toolarge.py"));
            router.args([server.ip().to_string(), DNS.to_string(), client.to_string()]);
            run(router.args([port.to_string(), "1300".to_owned()]));
            // It is dealt with before what is sent after it.
            flow.stays();
        };
        tell(10_001);
        assert!(!route().contains("mtu 1300"), "believed of a flow that is not there: {}", route());
        tell(10_000);
        wait_until("the kernel learns", Duration::from_secs(5), || route().contains("mtu 1300"));
        flow.exchange(1400, 1400);
        flow.exchange(20_000, 20_000);
    }
    counts_are_the_daemons(&host);
}
