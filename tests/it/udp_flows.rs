//! What keeps a flow of datagrams on its instance, what moves it, and what is no flow of a service at all.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::engine::Engine;
use wocut_tests::host::Host;
use wocut_tests::lan::{Family, Lan, connect};
use wocut_tests::must::Must as _;
use wocut_tests::need::bridges;
use wocut_tests::netns::Netns;
use wocut_tests::udp::{Caller, Flow, burst};
use wocut_tests::wait::{wait_for, wait_until};
use wocut_tests::{engines, need};

const DNS: u16 = 53;
const ALL: [u16; 3] = [8001, 8002, 8003];
/// What the daemon on the host beyond calls itself.
const BEYOND: u16 = 9000;

/// A flow from the client to each instance, in both families.
fn flows_to_each(host: &Host) -> Vec<Flow> {
    let open = |family| Flow::open_on_each(&host.lan.client, 10_000..10_100, host.lan.at(family, DNS), &ALL);
    Family::BOTH.into_iter().flat_map(open).collect()
}

engines! { flow_of_a_dead_instance_goes_on_at_another: ebpf }
fn flow_of_a_dead_instance_goes_on_at_another(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    let flows = flows_to_each(&host);
    daemons.remove(0).kill();
    let now: Vec<u16> = flows.iter().map(Flow::now_at).collect();
    for (flow, now) in flows.iter().zip(&now) {
        let before = flow.answer.instance;
        assert!(if before == 8001 { ALL[1..].contains(now) } else { before == *now }, "{before} to {now}");
    }
    // It comes back, and takes new flows, but none of those that went elsewhere.
    let _again = Daemon::udp(&host.lan.server, [8001]);
    assert_eq!(flows.iter().map(Flow::now_at).collect::<Vec<_>>(), now);
    for family in Family::BOTH {
        burst(&host.lan.client, 20_000..20_200, host.lan.at(family, DNS)).no_failure().only(&ALL);
    }
}

engines! { flow_of_an_instance_that_is_restarted_between_datagrams_stays: ebpf }
fn flow_of_an_instance_that_is_restarted_between_datagrams_stays(engine: Engine) {
    let host = Host::new(engine);
    let daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    let flows = flows_to_each(&host);
    daemons.into_iter().for_each(Daemon::kill);
    let _again = Daemon::udp(&host.lan.server, ALL);
    flows.iter().for_each(Flow::stays);
}

engines! { flow_of_a_removed_instance_goes_on_at_another: ebpf }
fn flow_of_a_removed_instance_goes_on_at_another(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    let flows = flows_to_each(&host);
    host.wocut("remove dns 8001").ok();
    for flow in &flows {
        let (before, now) = (flow.answer.instance, flow.now_at());
        assert!(if before == 8001 { ALL[1..].contains(&now) } else { before == now }, "{before} to {now}");
    }
    host.wocut("add dns 8001").ok();
    let moved = flows.iter().filter(|flow| flow.answer.instance != flow.now_at());
    assert_eq!(moved.count(), flows.iter().filter(|flow| flow.answer.instance == 8001).count());
}

engines! { nothing_is_lost_while_the_set_changes_and_an_instance_restarts: ebpf }
fn nothing_is_lost_while_the_set_changes_and_an_instance_restarts(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    for round in 0..3u16 {
        let flows = flows_to_each(&host);
        let changes =
            ["drain dns 8001", "weight dns 8002 9", "ready dns 8001", "remove dns 8003", "add dns 8003"];
        for change in changes {
            host.wocut(change).ok();
            assert!(flows.iter().all(|flow| ALL.contains(&flow.now_at())));
        }
        daemons.remove(0).kill();
        assert!(flows.iter().all(|flow| ALL.contains(&flow.now_at())));
        daemons.insert(0, Daemon::udp_with(&host.lan.server, Listen::on(8001)));
        for family in Family::BOTH {
            let first = 20_000 + 1000 * round;
            burst(&host.lan.client, first..first + 100, host.lan.at(family, DNS)).no_failure().only(&ALL);
        }
    }
}

engines! { clients_of_an_instance_itself_are_answered_from_its_port: ebpf }
fn clients_of_an_instance_itself_are_answered_from_its_port(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    for family in Family::BOTH {
        let local = |port| SocketAddr::from((family.loopback(), port));
        let remote = |port| host.lan.at(family, port);
        let ways: [(&Netns, &dyn Fn(u16) -> SocketAddr); 2] =
            [(&host.lan.client, &remote), (&host.lan.server, &local)];
        for (from, at) in ways {
            for port in 10_000..10_020 {
                let caller = Caller::on(from, family, port);
                let (instance, source) = caller.ask(at(DNS));
                assert_eq!(source, at(DNS), "a reply of the service comes from its port");
                for other in ALL.into_iter().filter(|other| *other != instance) {
                    assert_eq!(caller.ask(at(other)), (other, at(other)));
                }
                assert_eq!(caller.ask(at(DNS)), (instance, at(DNS)), "the flow is where it was");
            }
        }
    }
    let flows: u64 = host.instances("dns").values().filter_map(|one| one["connections"].as_u64()).sum();
    assert_eq!(flows, 80, "what went to an instance's own port is not counted");
}

engines! { forwarded_datagrams_are_left_alone: ebpf }
fn forwarded_datagrams_are_left_alone(engine: Engine) {
    let host = Host::on(Lan::with_beyond(), engine);
    let beyond = host.lan.beyond.as_ref().must("have a host beyond");
    let others: Vec<Daemon> = [DNS, 8001]
        .map(|port| Daemon::udp_with(beyond, Listen { label: Some(BEYOND), ..Listen::on(port) }))
        .into();
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    for guard in ["", " --guard"] {
        host.attach(&format!("dns 53/udp to 8001 8002 8003{guard}"));
        for family in Family::BOTH {
            let to = host.lan.at(family, DNS);
            // The flows are of the same client ports as those through this host.
            burst(&host.lan.client, 10_000..10_050, to).no_failure().among(&ALL);
            // The host beyond has the instances' ports too, and they are nobody's here.
            for port in [DNS, 8001] {
                let to = host.lan.beyond_at(family, port);
                let forwarded = burst(&host.lan.client, 10_000..10_050, to);
                forwarded.no_failure().only(&[BEYOND]);
                assert!(forwarded.strangers.is_empty(), "{:?}", forwarded.strangers.first());
                Flow::open(&host.lan.client, 11_000, to).exchange(20_000, 20_000);
                burst(&host.lan.server, 10_000..10_050, to).no_failure().only(&[BEYOND]);
            }
            burst(&host.lan.client, 10_000..10_050, to).no_failure().among(&ALL);
        }
        host.wocut("detach dns").ok();
    }
    drop(others);
}

/// A port of the server where a daemon answers whatever happens: once it has, all that was sent before has been dealt
/// with.
const PROBE: u16 = 7000;

/// Whether clients elsewhere get an answer of an instance when they ask at its own port.
fn is_open(host: &Host, family: Family) -> bool {
    let caller = Caller::on(&host.lan.client, family, 12_000);
    caller.send(host.lan.at(family, 8001));
    Flow::open(&host.lan.client, 12_001, host.lan.at(family, PROBE)).stays();
    caller.has_answer()
}

engines! { guarded_instances_are_reached_through_the_service_alone: ebpf }
fn guarded_instances_are_reached_through_the_service_alone(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL.into_iter().chain([PROBE]));
    host.attach("dns 53/udp to 8001 8002 8003 --guard");
    for family in Family::BOTH {
        let to = host.lan.at(family, DNS);
        burst(&host.lan.client, 10_000..10_100, to).no_failure().only(&ALL);
        assert!(!is_open(&host, family));
        for at in [family.loopback(), to.ip()] {
            burst(&host.lan.server, 10_000..10_100, (at, DNS).into()).no_failure().only(&ALL);
            let caller = Caller::on(&host.lan.server, family, 12_000);
            assert_eq!(caller.ask((at, 8001).into()), (8001, (at, 8001).into()));
        }
    }
    for (change, open) in [("remove dns 8001", true), ("add dns 8001", false), ("detach dns", true)] {
        host.wocut(change).ok();
        assert_eq!(Family::BOTH.map(|family| is_open(&host, family)), [open; 2], "{change}");
    }
}

/// Puts a bridge between the server and its wire, which takes over the server's addresses.
fn bridge(lan: &Lan) {
    lan.server.ip("link add bridge type bridge");
    lan.server.ip("link set bridge up");
    for family in Family::BOTH {
        let (word, length) = if family == Family::V4 { ("-4", 24) } else { ("-6", 64) };
        let address = lan.at(family, 0).ip();
        lan.server.ip(&format!("{word} address del {address}/{length} dev lan1"));
        lan.server.ip(&format!("{word} address add {address}/{length} dev bridge nodad"));
    }
    lan.server.ip("link set lan1 master bridge");
}

engines! { interfaces_may_be_stacked: ebpf }
fn interfaces_may_be_stacked(engine: Engine) {
    need!(bridges());
    let host = Host::on(Lan::with_beyond(), engine);
    bridge(&host.lan);
    // Only the bridge forwards, and not its port, where packets are seen first.
    host.lan.server.set("ipv4/conf/lan1/forwarding", "0");
    host.lan.server.set("ipv6/conf/lan1/forwarding", "0");
    let beyond = host.lan.beyond.as_ref().must("have a host beyond");
    let others = [DNS, 8001].map(|port| Listen { label: Some(BEYOND), ..Listen::on(port) });
    let _others = others.map(|listen| Daemon::udp_with(beyond, listen));
    let _daemons = Daemon::udp(&host.lan.server, ALL.into_iter().chain([PROBE]));
    host.attach("dns 53/udp to 8001 8002 8003 --guard");
    for family in Family::BOTH {
        let to = host.lan.at(family, DNS);
        // The kernel learns its neighbours.
        let answers = || burst(&host.lan.client, 9000..9001, to).failures.is_empty();
        wait_until("the bridge passes packets", Duration::from_secs(30), answers);
        let tally = burst(&host.lan.client, 10_000..10_200, to);
        tally.no_failure().only(&ALL);
        Flow::open(&host.lan.client, 11_000, to).exchange(20_000, 20_000);
        assert!(!is_open(&host, family));
        for port in [DNS, 8001] {
            let to = host.lan.beyond_at(family, port);
            burst(&host.lan.client, 10_000..10_100, to).no_failure().only(&[BEYOND]);
        }
    }
    let flows: u64 = host.instances("dns").values().filter_map(|one| one["connections"].as_u64()).sum();
    assert_eq!(flows, 404, "what comes by twice is one flow");
}

engines! { every_interface_is_served_and_one_that_comes_later_after_the_next_change: ebpf }
fn every_interface_is_served_and_one_that_comes_later_after_the_next_change(engine: Engine) {
    let host = Host::on(Lan::with_beyond(), engine);
    let beyond = host.lan.beyond.as_ref().must("have a host beyond");
    let late = Netns::new("late");
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    let at = |family: Family, network| SocketAddr::new(family.host(network, 1), DNS);
    for family in Family::BOTH {
        burst(&host.lan.client, 10_000..10_100, at(family, 1)).no_failure().only(&ALL);
        burst(beyond, 10_000..10_100, at(family, 2)).no_failure().only(&ALL);
    }
    connect(&host.lan.server, &late, 3);
    host.wocut("weight dns 8001 1").ok();
    host.wocut("weight dns 8001 2").ok();
    for family in Family::BOTH {
        burst(&late, 10_000..10_100, at(family, 3)).no_failure().only(&ALL);
        Flow::open(&late, 10_200, at(family, 3)).exchange(20_000, 20_000);
        burst(&host.lan.client, 20_000..20_100, at(family, 1)).no_failure().only(&ALL);
    }
}

engines! { clients_are_told_that_nobody_serves: ebpf }
fn clients_are_told_that_nobody_serves(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons = Daemon::udp(&host.lan.server, [8001, 8002]);
    host.attach("dns 53/udp to 8001 8002");
    let flows = Family::BOTH.map(|family| Flow::open(&host.lan.client, 10_000, host.lan.at(family, DNS)));
    daemons.drain(..).for_each(Daemon::kill);
    for flow in &flows {
        flow.send();
        let told = wait_for("the kernel says so", Duration::from_secs(5), || flow.look());
        assert_eq!(told.map_err(|error| error.kind()), Err(ErrorKind::ConnectionRefused));
    }
    assert_eq!(host.service("dns")["unserved"], 2);
    let _plain = Daemon::udp(&host.lan.server, [DNS]);
    assert_eq!(flows.each_ref().map(Flow::now_at), [DNS, DNS], "what is on the port itself serves");
    let _again = Daemon::udp(&host.lan.server, [8002]);
    assert_eq!(flows.each_ref().map(Flow::now_at), [8002, 8002]);
}

engines! { clients_are_told_nothing_where_datagrams_are_dropped: ebpf }
fn clients_are_told_nothing_where_datagrams_are_dropped(engine: Engine) {
    let host = Host::new(engine);
    let daemons = Daemon::udp(&host.lan.server, [8001]);
    let _plain = Daemon::udp(&host.lan.server, [DNS]);
    host.attach("dns 53/udp to 8001 --on-empty drop");
    let flows = Family::BOTH.map(|family| Flow::open(&host.lan.client, 10_000, host.lan.at(family, DNS)));
    let _probe = Daemon::udp(&host.lan.server, [PROBE]);
    daemons.into_iter().for_each(Daemon::kill);
    for (family, flow) in Family::BOTH.into_iter().zip(&flows) {
        flow.send();
        Flow::open(&host.lan.client, 10_001, host.lan.at(family, PROBE)).stays();
        assert!(flow.look().is_none(), "somebody answered: {:?}", flow.look());
    }
    assert_eq!(host.service("dns")["unserved"], 2);
    let _again = Daemon::udp(&host.lan.server, [8001]);
    flows.iter().for_each(Flow::stays);
}

engines! { flows_take_turns: ebpf }
fn flows_take_turns(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003 --policy round-robin");
    for family in Family::BOTH {
        let tally = burst(&host.lan.client, 10_000..10_300, host.lan.at(family, DNS));
        assert_eq!(tally.no_failure().answers, ALL.map(|port| (port, 100)).into());
    }
}

engines! { clients_stick_to_their_instance: ebpf }
fn clients_stick_to_their_instance(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003 --policy sticky");
    for family in Family::BOTH {
        let to = host.lan.at(family, DNS);
        let mut met = Vec::new();
        for n in 0..20u16 {
            // A network of its own for each client: of IPv6, a /64 counts as one.
            let (address, length) = match family {
                Family::V4 => (format!("10.9.{n}.2"), 32),
                Family::V6 => (format!("fd00:9:0:{n:x}::2"), 128),
            };
            let via = host.lan.client_address(family);
            host.lan.client.ip(&format!("address add {address}/{length} dev lan1 nodad"));
            host.lan.server.ip(&format!("route add {address}/{length} via {via}"));
            host.lan.client.ip(&format!("route replace {} dev lan1 src {address}", to.ip()));
            let first = 10_000 + 10 * n;
            let tally = burst(&host.lan.client, first..first + 10, to);
            assert_eq!(tally.no_failure().instances().len(), 1, "{:?}", tally.answers);
            met.extend(tally.instances());
        }
        assert!(ALL.iter().all(|port| met.contains(port)), "all clients are alike: {met:?}");
    }
}

engines! { policies_by_load_are_refused_with_the_reason: ebpf }
fn policies_by_load_are_refused_with_the_reason(engine: Engine) {
    let host = Host::new(engine);
    for policy in ["least-conn", "least-backlog"] {
        for flags in ["--engine ebpf", "--engine auto"] {
            host.wocut(&format!("attach dns 53/udp to 8001 8002 --policy {policy} {flags}"))
                .code(1)
                .says("53/udp has no connections or queues to pick by")
                .says(policy);
            assert!(!host.lan.server.state().exists(), "{policy} {flags}");
        }
    }
}
