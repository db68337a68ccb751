//! `wocut explain` says beforehand what the pick does.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use wocut_tests::client::Answer;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::must::Must as _;
use wocut_tests::udp::Flow;

const FAILED: i32 = 1;
const USAGE: i32 = 2;

/// Whom `explain` names for a client.
fn named(host: &Host, service: &str, from: SocketAddr) -> Option<u16> {
    let explained = host.wocut(&format!("explain {service} --from {from} --json")).ok().json();
    let order = explained["order"].as_array().must("read an order");
    let ready = order.iter().find(|asked| asked["answer"] == "ready").map(|asked| &asked["instance"]);
    assert_eq!(ready.unwrap_or(&serde_json::Value::Null), &explained["takes"]);
    explained["takes"].as_str().and_then(|name| name.parse().ok())
}

fn answered(host: &Host, family: Family, own: SocketAddr) -> u16 {
    let Answer { instance, .. } = Held::open_from(&host.lan.client, own, host.lan.at(family, SERVICE)).answer;
    instance
}

engines! { explain_names_whom_the_pick_takes: ebpf tc }
fn explain_names_whom_the_pick_takes(engine: Engine) {
    for policy in ["random", "sticky", "round-robin", "least-conn", "least-backlog"] {
        let host = Host::new(engine);
        let _daemons = Daemon::pythons(&host.lan.server, [8001, 8003, 8004]);
        host.attach(&format!("web 80/tcp to 8001 8002 8003*2 8004 --policy {policy}"));
        for family in Family::BOTH {
            for port in 20_001..20_016 {
                let own = (host.lan.client_address(family), port).into();
                // A tie between loads is decided by the hash, as everything else: nothing is drawn by lot.
                let expected = named(&host, "web", own);
                assert_eq!(Some(answered(&host, family, own)), expected, "{policy}, from {own}");
            }
        }
    }
}

engines! { explain_says_who_comes_next: ebpf tc }
fn explain_says_who_comes_next(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons: BTreeMap<u16, Daemon> =
        (8001..=8004).map(|port| (port, Daemon::python(&host.lan.server, port))).collect();
    host.attach("web 80/tcp to 8001 8002 8003 8004");
    let own: SocketAddr = (host.lan.client_address(Family::V4), 21_000).into();
    let explained = host.wocut(&format!("explain web --from {own} --json")).ok().json();
    let order: Vec<u16> =
        explained["order"].as_array().must("read an order").iter().filter_map(port).collect();
    assert_eq!(order.len(), 4, "each once: {explained}");
    for (n, next) in order.iter().enumerate() {
        assert_eq!(named(&host, "web", own), Some(*next));
        assert_eq!(answered(&host, Family::V4, own), *next, "the {n}th of {order:?}");
        daemons.remove(next).must("find the daemon").kill();
    }
    let explained = host.wocut(&format!("explain web --from {own} --json")).ok().json();
    assert_eq!((&explained["takes"], &explained["otherwise"]), (&serde_json::Value::Null, &"pass".into()));
    let said = host.wocut(&format!("explain web --from {own}"));
    assert!(
        ["finds no instance", "not listening"].iter().all(|text| said.ok().stdout.contains(text)),
        "{said}"
    );
}

fn port(asked: &serde_json::Value) -> Option<u16> {
    asked["instance"].as_str()?.parse().ok()
}

engines! { explain_takes_no_turn: ebpf }
fn explain_takes_no_turn(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.attach("web 80/tcp to 8001 8002 --policy round-robin");
    let own = (host.lan.client_address(Family::V4), 21_000).into();
    let first = named(&host, "web", own);
    assert_eq!(named(&host, "web", own), first);
    assert_eq!(host.service("web")["picks"], 0);
}

engines! { explain_names_the_instance_of_a_flow: ebpf }
fn explain_names_the_instance_of_a_flow(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, 8001..=8003);
    host.attach("dns 53/udp to 8001 8002 8003");
    for family in Family::BOTH {
        for port in 20_001..20_011 {
            let own: SocketAddr = (host.lan.client_address(family), port).into();
            let expected = named(&host, "dns", own);
            let flow = Flow::open(&host.lan.client, port, host.lan.at(family, 53));
            assert_eq!(Some(flow.answer.instance), expected);
        }
    }
}

engines! { what_cannot_be_explained_is_said: ebpf nft }
fn what_cannot_be_explained_is_said(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 10.1.0.1:80/tcp to 8001");
    if engine.is_ebpf() {
        host.wocut("explain web --from [fd00:1::2]:4000").code(USAGE).says("does not take clients like");
        host.wocut("explain web --from 10.1.0.2:4000 --to 10.1.0.1:81")
            .code(USAGE)
            .says("does not listen on");
        host.wocut("explain web --from 10.1.0.2").code(USAGE).says("--from");
    } else {
        host.wocut("explain web --from 10.1.0.2:4000").code(FAILED).says("only programs can be asked");
    }
}
