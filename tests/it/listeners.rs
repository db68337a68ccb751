//! Listeners of every kind: what they are bound to, when they came, and whether the kernel takes them.

use std::io::{self, Write as _};
use std::thread;

use serde_json::Value;
use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::engine::Engine;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::burst;
use wocut_tests::need::{mptcp, reuseport};
use wocut_tests::pins::dump_keys;
use wocut_tests::{engines, need};

/// What a daemon for IPv4 alone, and one for IPv6 alone, call themselves when both are one instance.
const APART: [u16; 2] = [9004, 9006];

/// When the daemons started; says so when the test fails.
#[derive(Clone, Copy, Debug)]
enum Started {
    BeforeAttach,
    AfterAttach,
}

/// Says when the daemons started, if the test fails.
struct Round(Started);

impl Drop for Round {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(writeln!(io::stderr(), "the daemons started: {:?}", self.0));
        }
    }
}

/// Shows a behaviour with daemons that were there before the service, and with such as came after it.
fn whenever(engine: Engine, service: &str, listens: &[Listen<'_>], behaviour: impl Fn(&Host)) {
    for started in [Started::BeforeAttach, Started::AfterAttach] {
        let _round = Round(started);
        let host = Host::new(engine);
        let start = || listens.iter().map(|&listen| Daemon::python_with(&host.lan.server, listen)).collect();
        let _daemons: Vec<Daemon> = match started {
            Started::BeforeAttach => {
                let daemons = start();
                host.attach(service);
                daemons
            }
            Started::AfterAttach => {
                host.attach(service);
                start()
            }
        };
        behaviour(&host);
    }
}

fn bound(port: u16, address: &str) -> Listen<'_> {
    Listen { address, ..Listen::on(port) }
}

engines! { shut_listener_is_passed_over: ebpf tc }
fn shut_listener_is_passed_over(engine: Engine) {
    let host = Host::new(engine);
    let daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    host.attach("web 80/tcp to 8001 8002 8003");
    let to = host.lan.at(Family::V4, SERVICE);
    let mut held = Held::open_on_each(&host.lan.client, to, &[8001, 8002, 8003]);
    let registered = dump_keys(&host.lan.server, "listeners");
    assert_eq!(registered.len(), 6, "one an instance and family: {registered:?}");
    daemons[0].shut(&host.lan.server, 8001);
    assert_eq!(dump_keys(&host.lan.server, "listeners"), registered, "the listener is in the map still");
    host.burst_both(2000).no_failure().only(&[8002, 8003]);
    held.iter_mut().for_each(Held::alive);
    let shut = &host.instances("web")["8001"];
    assert!(shut["failovers"].as_u64().is_some_and(|count| count > 100), "{shut}");
    assert_eq!(host.service("web")["unserved"], 0);
}

engines! { reuseport_group_serves_until_its_last_member_is_killed: ebpf tc }
fn reuseport_group_serves_until_its_last_member_is_killed(engine: Engine) {
    need!(reuseport(engine));
    for (address, family) in [("::", Family::V6), ("::", Family::V4), ("0.0.0.0", Family::V4)] {
        for started in [Started::BeforeAttach, Started::AfterAttach] {
            let _round = Round(started);
            let host = Host::new(engine);
            let member = |label| {
                let listen = Listen { address, label: Some(label), reuseport: true, ..Listen::on(8001) };
                Daemon::python_with(&host.lan.server, listen)
            };
            let attach = || host.attach("web 80/tcp to 8001 8002");
            if matches!(started, Started::AfterAttach) {
                attach();
            }
            let mut members: Vec<Daemon> = [9001, 9002, 9003].map(member).into();
            if matches!(started, Started::BeforeAttach) {
                attach();
            }
            host.burst(family, 300).no_failure().only(&[9001, 9002, 9003]);
            assert_eq!(host.instances("web")["8001"]["connections"], 300, "each member's connections count");
            while let Some(killed) = members.pop() {
                killed.kill();
                let left: Vec<u16> = (9001..).take(members.len()).collect();
                if !left.is_empty() {
                    host.burst(family, 100).no_failure().only(&left);
                }
            }
        }
    }
}

engines! { where_a_reuseport_group_is_handed_no_packets_the_others_serve: tc }
fn where_a_reuseport_group_is_handed_no_packets_the_others_serve(engine: Engine) {
    let host = Host::new(engine);
    let member = |label| {
        let listen = Listen { label: Some(label), reuseport: true, ..Listen::on(8001) };
        Daemon::python_with(&host.lan.server, listen)
    };
    let _members = [9001, 9002].map(member);
    let _other = Daemon::python(&host.lan.server, 8002);
    host.attach("web 80/tcp to 8001 8002");
    let serving = if reuseport(engine).is_ok() { &[8002, 9001, 9002][..] } else { &[8002] };
    host.burst_both(200).no_failure().only(serving);
}

engines! { ipv6_only_listener_gets_no_ipv4_clients: ebpf tc }
fn ipv6_only_listener_gets_no_ipv4_clients(engine: Engine) {
    let only = Listen { v6only: true, ..Listen::on(8001) };
    whenever(engine, "web 80/tcp to 8001 8002", &[only, Listen::on(8002)], |host| {
        host.burst(Family::V4, 200).no_failure().only(&[8002]);
        host.burst(Family::V6, 200).no_failure().only(&[8001, 8002]);
    });
}

engines! { dual_stack_listener_serves_both_families: ebpf tc }
fn dual_stack_listener_serves_both_families(engine: Engine) {
    whenever(engine, "web 80/tcp to 8001", &[bound(8001, "::")], |host| {
        host.burst_both(200).no_failure().only(&[8001]);
    });
}

engines! { instance_may_have_a_listener_for_each_family: ebpf tc }
fn instance_may_have_a_listener_for_each_family(engine: Engine) {
    let four = Listen { label: Some(APART[0]), ..bound(8001, "0.0.0.0") };
    let six = Listen { label: Some(APART[1]), v6only: true, ..bound(8001, "::") };
    for listens in [[four, six], [six, four]] {
        whenever(engine, "web 80/tcp to 8001", &listens, |host| {
            host.burst(Family::V4, 200).no_failure().only(&[APART[0]]);
            host.burst(Family::V6, 200).no_failure().only(&[APART[1]]);
        });
    }
}

const ANYWHERE: &str = "web 80/tcp to 8001 8002";

engines! { listener_on_one_address_serves_clients_of_any: ebpf tc }
fn listener_on_one_address_serves_clients_of_any(engine: Engine) {
    // A program that looks at packets cannot know of an address that neither the packet nor the instance names.
    let apart = if engine == Engine::Tc { "web 80/tcp to 10.1.0.1:8001 [fd00:1::1]:8002" } else { ANYWHERE };
    for (four, six, service) in [("127.0.0.1", "::1", ANYWHERE), ("10.1.0.1", "fd00:1::1", apart)] {
        whenever(engine, service, &[bound(8001, four), bound(8002, six)], |host| {
            for (family, instance) in [(Family::V4, 8001), (Family::V6, 8002)] {
                host.burst(family, 100).no_failure().only(&[instance]);
                let at_home = (family.loopback(), SERVICE).into();
                burst(&host.lan.server, at_home, 100).no_failure().only(&[instance]);
            }
        });
    }
}

engines! { instance_with_an_address_is_served_by_a_listener_on_all: ebpf tc }
fn instance_with_an_address_is_served_by_a_listener_on_all(engine: Engine) {
    let service = "web 80/tcp to 127.0.0.1:8001 8002";
    for address in ["0.0.0.0", "::"] {
        whenever(engine, service, &[bound(8001, address), Listen::on(8002)], |host| {
            host.burst(Family::V4, 200).no_failure().only(&[8001, 8002]);
        });
    }
}

engines! { instance_with_an_address_is_not_served_by_a_listener_on_another: ebpf tc }
fn instance_with_an_address_is_not_served_by_a_listener_on_another(engine: Engine) {
    let service = "web 80/tcp to 127.0.0.1:8001 8002";
    whenever(engine, service, &[bound(8001, "10.1.0.1"), Listen::on(8002)], |host| {
        host.burst_both(200).no_failure().only(&[8002]);
    });
}

engines! { services_that_share_an_instance_count_their_own_connections: ebpf tc }
fn services_that_share_an_instance_count_their_own_connections(engine: Engine) {
    let host = Host::new(engine);
    let early = Daemon::python(&host.lan.server, 8001);
    host.attach("web 80/tcp to 8001 8002");
    host.attach("api 81/tcp to 8001 --force");
    let _others = Daemon::pythons(&host.lan.server, [8002]);
    let counts = |service: &str, instance: &str| {
        let row = host.instances(service)[instance].clone();
        ["picked", "connections"].map(|field| row[field].as_u64())
    };
    let mut expected = [0, 0, 0];
    let mut round = || {
        for family in Family::BOTH {
            let [web, api] = [(80, 100), (81, 70)]
                .map(|(port, connections)| burst(&host.lan.client, host.lan.at(family, port), connections));
            web.no_failure().only(&[8001, 8002]);
            api.no_failure().only(&[8001]);
            for (sum, more) in expected.iter_mut().zip([web.by(8001), web.by(8002), api.by(8001)]) {
                *sum += more;
            }
        }
        assert_eq!(counts("web", "8001"), [Some(expected[0]); 2]);
        assert_eq!(counts("web", "8002"), [Some(expected[1]); 2]);
        assert_eq!(counts("api", "8001"), [Some(expected[2]); 2]);
    };
    round();
    early.kill();
    let _late = Daemon::python(&host.lan.server, 8001);
    round();
}

engines! { mptcp_listeners_are_served_through_tc: ebpf }
fn mptcp_listeners_are_served_through_tc(engine: Engine) {
    need!(mptcp());
    let host = Host::new(engine);
    let listen = |port| Listen { mptcp: true, ..Listen::on(port) };
    let early = Daemon::python_with(&host.lan.server, listen(8001));
    let _plain = Daemon::python(&host.lan.server, 8003);
    host.attach("web 80/tcp to 8001 8002 8003");
    assert_eq!(host.service("web")["hook"], "tc");
    host.burst_both(400).no_failure().only(&[8001, 8003]);
    let _late = Daemon::python_with(&host.lan.server, listen(8002));
    host.burst_both(400).no_failure().only(&[8001, 8002, 8003]);
    early.kill();
    host.burst_both(400).no_failure().only(&[8002, 8003]);
    let _without = Daemon::python(&host.lan.server, 8001);
    host.burst_both(400).no_failure().only(&[8001, 8002, 8003]);
    for port in ["8001", "8002", "8003"] {
        assert_eq!(host.instances("web")[port]["refused"], Value::Null);
    }
}

engines! { mptcp_listener_is_named_and_passed_over_where_only_sk_lookup_may_pick: ebpf }
fn mptcp_listener_is_named_and_passed_over_where_only_sk_lookup_may_pick(engine: Engine) {
    need!(mptcp());
    let host = Host::new(engine);
    let _mptcp = Daemon::python_with(&host.lan.server, Listen { mptcp: true, ..Listen::on(8001) });
    let _plain = Daemon::python(&host.lan.server, 8003);
    host.attach("web 80/tcp to 8001 8003 --hook sk_lookup").says("MPTCP").says("8001");
    host.burst_both(400).no_failure().only(&[8003]);
    let refused = |port: &str| host.instances("web")[port]["refused"].clone();
    assert!(refused("8001").as_str().is_some_and(|why| why.contains("MPTCP")), "{}", refused("8001"));
    assert_eq!(refused("8003"), Value::Null);
}
