//! How the rules engine picks, policy by policy.

use std::collections::BTreeMap;

use wocut_tests::client::ask;
use wocut_tests::crowd::Crowd;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::{Host, SERVICE, words};
use wocut_tests::lan::Family;
use wocut_tests::must::Must as _;
use wocut_tests::stats::{LEAST_P, Shares, p_value};
use wocut_tests::tool::run;
use wocut_tests::udp;

/// The instances that answer so many connections, one after the other.
fn answers(host: &Host, family: Family, connections: usize) -> Vec<u16> {
    let to = host.lan.at(family, SERVICE);
    host.lan.client.run(|| (0..connections).map(|_| ask(to).must("connect").0.instance).collect())
}

fn counts(answers: &[u16]) -> BTreeMap<u16, u64> {
    answers.iter().fold(BTreeMap::new(), |mut counts, instance| {
        *counts.entry(*instance).or_default() += 1;
        counts
    })
}

engines! { round_robin_gives_each_its_turn: nft legacy }
fn round_robin_gives_each_its_turn(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    host.attach("web 80/tcp to 8001 8002 8003 --policy round-robin");
    for family in Family::BOTH {
        assert_eq!(answers(&host, family, 30), [8001, 8002, 8003].repeat(10));
    }
    host.wocut("drain web 8002").ok();
    for family in Family::BOTH {
        let counted = counts(&answers(&host, family, 20));
        assert_eq!(counted, [(8001, 10), (8003, 10)].into());
    }
}

engines! { round_robin_of_many_is_exact: nft legacy }
fn round_robin_of_many_is_exact(engine: Engine) {
    let host = Host::new(engine);
    let ports: Vec<u16> = (8001..=8019).collect();
    let _daemons = Daemon::pythons(&host.lan.server, ports.clone());
    let instances: Vec<String> = ports.iter().map(ToString::to_string).collect();
    host.attach(&format!("web 80/tcp to {} --policy round-robin", instances.join(" ")));
    for family in Family::BOTH {
        assert_eq!(answers(&host, family, 3 * ports.len()), ports.repeat(3));
    }
    // Many at once get mixed up, but nobody gets more turns than another.
    let tally = host.burst(Family::V4, 1900);
    assert_eq!(tally.no_failure().answers, ports.iter().map(|port| (*port, 100)).collect());
}

engines! { round_robin_goes_by_weight: nft legacy }
fn round_robin_goes_by_weight(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    host.attach("web 80/tcp to 8001 8002*2 8003*5 --policy round-robin");
    for family in Family::BOTH {
        let counted = counts(&answers(&host, family, 80));
        assert_eq!(counted, [(8001, 10), (8002, 20), (8003, 50)].into());
    }
}

engines! { round_robin_gives_flows_their_turns: nft legacy }
fn round_robin_gives_flows_their_turns(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, 8001..=8003);
    host.attach("dns 53/udp to 8001 8002 8003 --policy round-robin");
    for family in Family::BOTH {
        let flows = udp::burst(&host.lan.client, 10_000..10_300, host.lan.at(family, 53));
        assert_eq!(flows.no_failure().answers, [(8001, 100), (8002, 100), (8003, 100)].into());
    }
}

engines! { sticky_client_stays_until_its_instance_goes_and_comes_back_to_it: nft legacy }
fn sticky_client_stays_until_its_instance_goes_and_comes_back_to_it(engine: Engine) {
    let host = Host::new(engine);
    let crowd = Crowd::behind(&host.lan);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    host.attach("web 80/tcp to 8001 8002 8003 --policy sticky");
    let connect = || Family::BOTH.map(|family| crowd.connect(family, 50, SERVICE)).concat();
    let at_first = connect();
    assert_eq!(counts(&at_first).len(), 3, "{at_first:?}");
    assert_eq!(connect(), at_first);
    for (out, back) in [("drain web 8001", "ready web 8001"), ("maint web 8001", "ready web 8001")] {
        host.wocut(out).ok();
        let meanwhile = connect();
        for (before, now) in at_first.iter().zip(&meanwhile) {
            assert_eq!(before != now, *before == 8001, "{before} became {now}");
        }
        assert_eq!(connect(), meanwhile);
        host.wocut(back).ok();
        assert_eq!(connect(), at_first);
    }
    host.wocut("remove web 8001").ok();
    assert!(!connect().contains(&8001));
    host.wocut("add web 8001").ok();
    assert_eq!(connect(), at_first);
}

engines! { sticky_clients_spread_by_weight: nft legacy }
fn sticky_clients_spread_by_weight(engine: Engine) {
    let host = Host::new(engine);
    let crowd = Crowd::behind(&host.lan);
    let _daemons = Daemon::udp(&host.lan.server, 8001..=8004);
    host.attach("dns 53/udp to 8001 8002 8003 8004*2 --policy sticky");
    let shares: Shares = [(8001, 1), (8002, 1), (8003, 1), (8004, 2)].into();
    for family in Family::BOTH {
        let counted = counts(&crowd.send(family, 10_000, 10_000, 53));
        assert!(p_value(&counted, &shares) > LEAST_P, "{counted:?}");
        let again = counts(&crowd.send(family, 10_000, 20_000, 53));
        assert_eq!(again, counted);
    }
}

engines! { sticky_prefix_makes_one_client_of_a_network: nft legacy }
fn sticky_prefix_makes_one_client_of_a_network(engine: Engine) {
    let host = Host::new(engine);
    let crowd = Crowd::behind(&host.lan);
    let _daemons = Daemon::udp(&host.lan.server, 8001..=8003);
    host.attach("dns 53/udp to 8001 8002 8003 --policy sticky --sticky-prefix 24,48");
    let four = crowd.send(Family::V4, 10 * 256, 10_000, 53);
    assert_eq!(counts(&four).len(), 3);
    assert!(four.chunks(256).all(|network| counts(network).len() == 1), "{four:?}");
    assert_eq!(counts(&crowd.send(Family::V6, 256, 10_000, 53)).len(), 1);
}

engines! { mark_bits_of_others_survive_the_pick: nft legacy }
/// `HMARK` would set them to what it likes: a connection whose mark another tool needs would take another route.
fn mark_bits_of_others_survive_the_pick(engine: Engine) {
    let host = Host::new(engine);
    let crowd = Crowd::behind(&host.lan);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    for program in ["iptables", "ip6tables"] {
        for rule in [
            "-t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 0xabc70000",
            "-A INPUT -p tcp --dport 8001:8003 -m mark ! --mark 0xabc70000/0xffff0000 -j REJECT",
        ] {
            run(host.tool(program).args(words(rule)));
        }
    }
    for policy in ["random", "round-robin", "sticky"] {
        host.wocut(&host.attach_line(&format!("web 80/tcp to 8001 8002 8003 --force --policy {policy}")))
            .ok();
        for family in Family::BOTH {
            assert_eq!(crowd.connect(family, 50, SERVICE).len(), 50);
        }
    }
}

engines! { policies_that_count_connections_are_refused_or_degraded: nft legacy }
fn policies_that_count_connections_are_refused_or_degraded(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    for (policy, reason) in [("least-conn", "connections are open"), ("least-backlog", "accept queue")] {
        let attach = host.attach_line(&format!("web 80/tcp to 8001 8002 --policy {policy}"));
        host.wocut(&attach).code(1).says(policy).says(reason);
        assert!(!host.lan.server.state().exists());
        host.wocut(&format!("{attach} --allow-degraded")).ok();
        let service = host.service("web");
        assert_eq!(service["policy"], policy);
        assert!(service["degraded"].as_str().is_some_and(|why| why.contains(reason)), "{service}");
        host.burst_both(200).no_failure().only(&[8001, 8002]);
        host.wocut("detach web").ok();
    }
    host.attach("web 80/tcp to 8001 8002 --policy sticky --guard");
    assert!(host.service("web")["degraded"].is_null());
}
