//! UDP services: a flow is what a connection is elsewhere.

use std::io::ErrorKind;
use std::ops::Range;

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::Host;
use wocut_tests::lan::Family;
use wocut_tests::load;
use wocut_tests::stats::{LEAST_P, Shares};
use wocut_tests::udp::{Flow, burst};

const DNS: u16 = 53;
/// The instances' ports.
const ALL: [u16; 3] = [8001, 8002, 8003];
/// Two ports of one service, each with client ports of its own: an instance would see flows from one port of one client
/// to both as the same, so that conntrack would give one of them another client port.
const BOTH_PORTS: [(u16, Range<u16>); 2] = [(DNS, 10_000..10_300), (40053, 11_000..11_300)];
/// Why it is not eBPF.
const REASON: &str = "programs cannot refuse the datagrams of 53/udp";

/// Even a fair pick falls below the limit once in a thousand times, so the first time does not count.
fn fairly(host: &Host, family: Family, shares: &Shares) {
    let flows = |ports| {
        let tally = burst(&host.lan.client, ports, host.lan.at(family, DNS));
        assert_eq!(tally.no_failure().answered_total(), 10_000);
        tally
    };
    let tally = flows(10_000..20_000);
    if tally.p_value(shares) <= LEAST_P {
        let again = flows(20_000..30_000);
        let p = [tally.p_value(shares), again.p_value(shares)];
        assert!(p[1] > LEAST_P, "twice not {shares:?}, p = {p:?}: {:?}, {:?}", tally.answers, again.answers);
    }
}

engines! { new_flows_are_balanced: ebpf nft legacy }
fn new_flows_are_balanced(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp 40053/udp to 8001 8002 8003");
    for family in Family::BOTH {
        for (port, ports) in BOTH_PORTS {
            let flows = burst(&host.lan.client, ports, host.lan.at(family, port));
            assert_eq!(flows.no_failure().only(&ALL).answered_total(), 300);
            assert!(flows.strangers.is_empty(), "daemons saw other clients: {:?}", flows.strangers.first());
        }
    }
}

engines! { new_flows_of_loopback_clients_are_balanced: ebpf nft legacy }
fn new_flows_of_loopback_clients_are_balanced(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp 40053/udp to 8001 8002 8003");
    for family in Family::BOTH {
        for address in [family.loopback(), host.lan.at(family, DNS).ip()] {
            for (port, ports) in BOTH_PORTS {
                burst(&host.lan.server, ports, (address, port).into()).no_failure().only(&ALL);
            }
        }
    }
}

engines! { equal_instances_get_equal_shares_of_flows: ebpf nft legacy }
fn equal_instances_get_equal_shares_of_flows(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, 8001..=8008);
    host.attach("dns 53/udp to 8001 8002 8003 8004 8005 8006 8007 8008");
    for family in Family::BOTH {
        fairly(&host, family, &(8001..=8008).map(|port| (port, 1)).collect());
    }
}

engines! { weights_are_shares_of_flows: ebpf nft legacy }
fn weights_are_shares_of_flows(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002*2 8003*5");
    for family in Family::BOTH {
        fairly(&host, family, &[(8001, 1), (8002, 2), (8003, 5)].into());
    }
}

engines! { flow_stays_on_its_instance: ebpf nft legacy }
fn flow_stays_on_its_instance(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002");
    let remote = Family::BOTH.map(|family| (&host.lan.client, host.lan.at(family, DNS)));
    let local = Family::BOTH.map(|family| (&host.lan.server, (family.loopback(), DNS).into()));
    let mut flows = Vec::new();
    for (from, to) in [remote, local].concat() {
        flows.extend(Flow::open_on_each(from, 10_000..10_100, to, &[8001, 8002]));
    }
    for _ in 0..20 {
        flows.iter().for_each(Flow::stays);
    }
    host.wocut("add dns 8003").ok();
    host.wocut("weight dns 8003 256").ok();
    flows.iter().for_each(Flow::stays);
}

/// Takes 8001 out with one command and puts it back with another.
fn leaves_and_comes_back(engine: Engine, out: &str, back: &str) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    let at = |family| host.lan.at(family, DNS);
    let open = |family| Flow::open_on_each(&host.lan.client, 10_000..10_100, at(family), &ALL);
    let flows: Vec<Flow> = Family::BOTH.into_iter().flat_map(open).collect();
    host.wocut(out).ok();
    for family in Family::BOTH {
        burst(&host.lan.client, 20_000..20_300, at(family)).no_failure().only(&[8002, 8003]);
    }
    flows.iter().for_each(Flow::stays);
    host.wocut(back).ok();
    for family in Family::BOTH {
        burst(&host.lan.client, 30_000..30_300, at(family)).no_failure().only(&ALL);
    }
    flows.iter().for_each(Flow::stays);
}

engines! { drained_instance_keeps_its_flows: ebpf nft legacy }
fn drained_instance_keeps_its_flows(engine: Engine) {
    leaves_and_comes_back(engine, "drain dns 8001", "ready dns 8001");
}

engines! { flows_are_counted: ebpf nft legacy }
fn flows_are_counted(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003*2");
    let flows = Family::BOTH.map(|family| burst(&host.lan.client, 10_000..10_500, host.lan.at(family, DNS)));
    let instances = host.instances("dns");
    for port in ALL {
        let known: u64 = flows.iter().map(|tally| tally.no_failure().by(port)).sum();
        assert_eq!(instances[&port.to_string()]["picked"], known, "{instances:?}");
    }
}

engines! { one_service_takes_tcp_and_udp: ebpf nft legacy }
fn one_service_takes_tcp_and_udp(engine: Engine) {
    let host = Host::new(engine);
    let _streams = Daemon::pythons(&host.lan.server, ALL);
    let _datagrams = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp 53/tcp to 8001 8002 8003");
    for family in Family::BOTH {
        let to = host.lan.at(family, DNS);
        burst(&host.lan.client, 10_000..10_300, to).no_failure().only(&ALL);
        load::burst(&host.lan.client, to, 300).no_failure().only(&ALL);
    }
}

engines! { new_flows_are_refused_if_no_instance_is_left: nft legacy }
fn new_flows_are_refused_if_no_instance_is_left(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::udp(&host.lan.server, [DNS]);
    let _daemons = Daemon::udp(&host.lan.server, [8001]);
    host.attach("dns 53/udp to 8001 --on-empty reject");
    let flows = Family::BOTH.map(|family| Flow::open(&host.lan.client, 10_000, host.lan.at(family, DNS)));
    host.wocut("drain dns 8001").ok();
    for family in Family::BOTH {
        // One, because the kernel sends these answers at a limited rate.
        let refused = burst(&host.lan.client, 20_000..20_001, host.lan.at(family, DNS));
        assert!(refused.answers.is_empty(), "answered: {:?}", refused.answers);
        let kinds = refused.failures.iter().map(|(failure, _)| failure.error.kind());
        assert_eq!(kinds.collect::<Vec<_>>(), [ErrorKind::ConnectionRefused]);
    }
    flows.iter().for_each(Flow::stays);
}

engines! { udp_service_that_refuses_runs_on_iptables_and_says_why: nft legacy }
fn udp_service_that_refuses_runs_on_iptables_and_says_why(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.wocut("attach dns 53/udp to 8001 8002 8003 --on-empty reject --engine auto")
        .ok()
        .says(REASON)
        .says("iptables");
    let status = host.wocut("status --json").ok().json();
    assert_eq!(status["services"][0]["engine"], "iptables");
    assert!(status["engine_reason"].as_str().is_some_and(|why| why.contains(REASON)), "{status}");
    for family in Family::BOTH {
        burst(&host.lan.client, 10_000..10_100, host.lan.at(family, DNS)).no_failure().only(&ALL);
    }
}

engines! { udp_service_that_refuses_is_refused_on_ebpf: ebpf }
fn udp_service_that_refuses_is_refused_on_ebpf(engine: Engine) {
    let host = Host::new(engine);
    for listen in ["53/udp", "53/tcp 53/udp"] {
        host.wocut(&host.attach_line(&format!("dns {listen} to 8001 --on-empty reject")))
            .code(1)
            .says(REASON);
        assert!(!host.lan.server.state().exists());
        assert!(!host.lan.server.pins().exists());
    }
}
