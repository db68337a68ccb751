//! How picks are made: in turn, by load, by the client's address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::figures::note;
use wocut_tests::held::{Held, silent};
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::burst;
use wocut_tests::must::Must as _;
use wocut_tests::sockets::accept_queue;
use wocut_tests::sources::{from_each, gather, in_turn, member};
use wocut_tests::stats::{LEAST_P, Shares, p_value};
use wocut_tests::wait::wait_until;

const POLICIES: [&str; 5] = ["random", "round-robin", "least-conn", "least-backlog", "sticky"];
const FOUR: [u16; 4] = [8001, 8002, 8003, 8004];
const EIGHT: [u16; 8] = [8001, 8002, 8003, 8004, 8005, 8006, 8007, 8008];
const SOON: Duration = Duration::from_secs(5);

type Counts = BTreeMap<u16, u64>;

fn count(answers: impl IntoIterator<Item = u16>) -> Counts {
    let mut counts = Counts::new();
    answers.into_iter().for_each(|instance| *counts.entry(instance).or_default() += 1);
    counts
}

fn counts_of(held: &[Held]) -> Counts {
    count(held.iter().map(|one| one.answer.instance))
}

fn each<const N: usize>(instances: [u16; N], count: u64) -> Counts {
    instances.into_iter().map(|instance| (instance, count)).collect()
}

/// Between the most and the least that one of these has.
fn spread(counts: &Counts, instances: &[u16]) -> u64 {
    let of = |instance| counts.get(instance).copied().unwrap_or_default();
    let (most, least) = (instances.iter().map(of).max(), instances.iter().map(of).min());
    most.zip(least).map_or(0, |(most, least)| most - least)
}

/// What `status` says of the open connections.
fn active(host: &Host) -> Counts {
    let instances = host.instances("web").into_iter();
    let number = |name: &str| name.parse().must("read the name as a port");
    instances.map(|(name, row)| (number(&name), row["active"].as_u64().must("read active"))).collect()
}

engines! { round_robin_gives_each_its_turn: ebpf tc }
fn round_robin_gives_each_its_turn(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, FOUR);
    host.attach("web 80/tcp to 8001 8002 8003 8004 --policy round-robin");
    for family in Family::BOTH {
        let answers = in_turn(&host.lan.client, host.lan.at(family, SERVICE), 400);
        for round in answers.chunks(4) {
            let met: BTreeSet<u16> = round.iter().copied().collect();
            assert_eq!(met.len(), 4, "{answers:?}");
        }
        assert_eq!(count(answers), each(FOUR, 100));
    }
}

engines! { round_robin_gives_turns_by_weight: ebpf tc }
fn round_robin_gives_turns_by_weight(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001*3 8002 --policy round-robin");
    for family in Family::BOTH {
        let answers = in_turn(&host.lan.client, host.lan.at(family, SERVICE), 200);
        for round in answers.windows(4) {
            assert_eq!(count(round.iter().copied()), [(8001, 3), (8002, 1)].into(), "{answers:?}");
        }
    }
}

engines! { round_robin_is_even_for_clients_at_once: ebpf tc }
fn round_robin_is_even_for_clients_at_once(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, FOUR);
    host.attach("web 80/tcp to 8001 8002 8003 8004 --policy round-robin");
    for family in Family::BOTH {
        let tally = host.burst(family, 4000);
        tally.no_failure().only(&FOUR);
        // Two processors may take the same turn.
        assert!(spread(&tally.answers, &FOUR) <= 20, "{:?}", tally.answers);
    }
}

engines! { round_robin_gives_the_turns_of_one_that_is_gone_to_the_next: ebpf tc }
fn round_robin_gives_the_turns_of_one_that_is_gone_to_the_next(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons = Daemon::pythons(&host.lan.server, EIGHT);
    host.attach("web 80/tcp to 8001 8002 8003 8004 8005 8006 8007 8008 --policy round-robin");
    let to = host.lan.at(Family::V4, SERVICE);
    host.wocut("drain web 8008").ok();
    assert_eq!(
        count(in_turn(&host.lan.client, to, 700)),
        each([8001, 8002, 8003, 8004, 8005, 8006, 8007], 100)
    );
    host.wocut("ready web 8008").ok();
    daemons.remove(0).kill();
    let left = [8002, 8003, 8004, 8005, 8006, 8007, 8008];
    assert_eq!(count(in_turn(&host.lan.client, to, 700)), each(left, 100));
}

/// One instance with so many open connections, and seven with none.
fn one_is_busy(engine: Engine, policy: &str, busy: usize) -> (Host, Vec<Daemon>, Vec<Held>) {
    let host = Host::new(engine);
    let daemons = Daemon::pythons(&host.lan.server, EIGHT);
    host.attach(&format!("web 80/tcp to 8001 --policy {policy}"));
    let held = Held::open_many(&host.lan.client, host.lan.at(Family::V4, SERVICE), busy, 1);
    host.wocut("add web 8002 8003 8004 8005 8006 8007 8008").ok();
    assert_eq!(active(&host)[&8001], busy as u64);
    (host, daemons, held)
}

engines! { least_conn_levels_open_connections: ebpf tc }
fn least_conn_levels_open_connections(engine: Engine) {
    for (family, at_once, most_apart) in [(Family::V4, 1, 0), (Family::V6, 1, 0), (Family::V4, 50, 4)] {
        let (host, _daemons, mut held) = one_is_busy(engine, "least-conn", 100);
        held.extend(Held::open_many(&host.lan.client, host.lan.at(family, SERVICE), 700, at_once));
        let counts = counts_of(&held);
        assert_eq!(active(&host), counts);
        let apart = spread(&counts, &EIGHT);
        note(format_args!("least-conn, {engine:?}, {at_once} at once: {counts:?}"));
        assert!(apart <= most_apart, "{at_once} at once: {counts:?}");
    }
}

engines! { least_conn_goes_by_weight: ebpf tc }
fn least_conn_goes_by_weight(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002, 8003]);
    host.attach("web 80/tcp to 8001*5 8002*2 8003 --policy least-conn");
    for (family, expected) in [(Family::V4, [50, 20, 10]), (Family::V6, [50, 20, 10])] {
        let held = Held::open_many(&host.lan.client, host.lan.at(family, SERVICE), 80, 1);
        let counts = counts_of(&held);
        for (port, expected) in (8001..).zip(expected) {
            assert!(counts[&port].abs_diff(expected) <= 1, "{counts:?}");
        }
        drop(held);
        wait_until("the connections end", SOON, || active(&host).values().all(|&open| open == 0));
    }
}

engines! { least_conn_fills_up_what_has_ended: ebpf tc }
fn least_conn_fills_up_what_has_ended(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons = Daemon::pythons(&host.lan.server, FOUR);
    host.attach("web 80/tcp to 8001 8002 8003 8004 --policy least-conn");
    let to = host.lan.at(Family::V4, SERVICE);
    let mut held = Held::open_many(&host.lan.client, to, 80, 1);
    assert_eq!(counts_of(&held), each(FOUR, 20));
    held.retain(|one| one.answer.instance != 8003);
    wait_until("the connections of 8003 end", SOON, || active(&host)[&8003] == 0);
    let again = Held::open_many(&host.lan.client, to, 20, 1);
    assert_eq!(counts_of(&again), each([8003], 20));
    held.extend(again);

    daemons.remove(0).kill();
    let without = [(8001, 0), (8002, 20), (8003, 20), (8004, 20)].into();
    wait_until("the connections of 8001 are gone", SOON, || active(&host) == without);
    let meanwhile = Held::open_many(&host.lan.client, to, 3, 1);
    assert_eq!(counts_of(&meanwhile), each([8002, 8003, 8004], 1));
    held.retain(|one| one.answer.instance != 8001);
    held.extend(meanwhile);
    daemons.push(Daemon::python(&host.lan.server, 8001));
    assert_eq!(active(&host)[&8001], 0);
    held.extend(Held::open_many(&host.lan.client, to, 21, 1));
    assert_eq!(counts_of(&held), each(FOUR, 21));
    assert_eq!(active(&host), each(FOUR, 21));
}

engines! { least_backlog_leaves_out_who_does_not_accept: ebpf tc }
fn least_backlog_leaves_out_who_does_not_accept(engine: Engine) {
    let host = Host::new(engine);
    let daemons = Daemon::pythons(&host.lan.server, FOUR);
    host.attach("web 80/tcp to 8001 8002 8003 8004 --policy least-backlog");
    let to = host.lan.at(Family::V4, SERVICE);
    daemons[0].stop();
    let mut waiting = Vec::new();
    wait_until("somebody waits for 8001", SOON, || {
        waiting.extend(silent(&host.lan.client, to, 1));
        accept_queue(&host.lan.server, 8001).is_some_and(|queue| queue.length == 1)
    });
    for family in Family::BOTH {
        let answers = in_turn(&host.lan.client, host.lan.at(family, SERVICE), 300);
        // Of those with empty queues, one that somebody else still holds a connection to has a longer wait than others.
        assert!(!count(answers).contains_key(&8001));
    }
    daemons[0].resume();
    wait_until("8001 accepts", SOON, || {
        accept_queue(&host.lan.server, 8001).is_some_and(|queue| queue.length == 0)
    });
    let held = Held::open_many(&host.lan.client, to, 100, 1);
    assert!(counts_of(&held).get(&8001).is_some_and(|&count| count >= 24), "{:?}", counts_of(&held));
}

engines! { least_backlog_of_equals_takes_who_has_fewer_connections: ebpf tc }
fn least_backlog_of_equals_takes_who_has_fewer_connections(engine: Engine) {
    let (host, _daemons, mut held) = one_is_busy(engine, "least-backlog", 20);
    held.extend(Held::open_many(&host.lan.client, host.lan.at(Family::V6, SERVICE), 140, 1));
    assert_eq!(counts_of(&held), each(EIGHT, 20));
}

engines! { least_backlog_goes_by_weight: ebpf tc }
fn least_backlog_goes_by_weight(engine: Engine) {
    let host = Host::new(engine);
    let daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001*3 8002 --policy least-backlog");
    daemons.iter().for_each(Daemon::stop);
    let _waiting = silent(&host.lan.client, host.lan.at(Family::V4, SERVICE), 80);
    let queues = [8001, 8002].map(|port| accept_queue(&host.lan.server, port).must("read the queue").length);
    assert!(queues[0] + queues[1] == 80 && queues[1].abs_diff(20) <= 1, "{queues:?}");
    daemons.iter().for_each(Daemon::resume);
}

/// Which instance each of these clients gets.
fn homes(host: &Host, clients: &[IpAddr]) -> Vec<u16> {
    let family = if clients[0].is_ipv4() { Family::V4 } else { Family::V6 };
    from_each(&host.lan.client, clients, host.lan.at(family, SERVICE))
}

/// Client 1 of each of so many networks.
fn crowd(family: Family, networks: u16) -> Vec<IpAddr> {
    (0..networks).map(|network| member(family, network, 1)).collect()
}

engines! { sticky_client_stays_with_its_instance: ebpf tc }
fn sticky_client_stays_with_its_instance(engine: Engine) {
    let host = Host::new(engine);
    gather(&host.lan);
    let mut daemons = Daemon::pythons(&host.lan.server, FOUR);
    host.attach("web 80/tcp 8080/tcp to 8001 8002 8003 8004 --policy sticky");
    let clients = Family::BOTH.map(|family| crowd(family, 200));
    let at_home = clients.each_ref().map(|clients| homes(&host, clients));
    for (clients, at_home) in clients.iter().zip(&at_home) {
        assert_eq!(count(at_home.iter().copied()).len(), 4, "{at_home:?}");
        assert_eq!(&homes(&host, clients), at_home);
        let family = if clients[0].is_ipv4() { Family::V4 } else { Family::V6 };
        let elsewhere = from_each(&host.lan.client, clients, host.lan.at(family, 8080));
        assert_eq!(&elsewhere, at_home, "the other LISTEN");
    }
    daemons.remove(0).kill();
    let away = clients.each_ref().map(|clients| homes(&host, clients));
    for (away, home) in away.iter().flatten().zip(at_home.iter().flatten()) {
        assert!(if *home == 8001 { *away != 8001 } else { away == home }, "from {home} to {away}");
    }
    assert_eq!(clients.each_ref().map(|clients| homes(&host, clients)), away, "a second home is one too");
    daemons.push(Daemon::python(&host.lan.server, 8001));
    assert_eq!(clients.each_ref().map(|clients| homes(&host, clients)), at_home);
    host.wocut("drain web 8002").ok();
    assert!(!homes(&host, &clients[0]).contains(&8002));
    host.wocut("ready web 8002").ok();
    assert_eq!(clients.each_ref().map(|clients| homes(&host, clients)), at_home);
}

engines! { sticky_prefix_makes_neighbours_one_client: ebpf tc }
fn sticky_prefix_makes_neighbours_one_client(engine: Engine) {
    let host = Host::new(engine);
    gather(&host.lan);
    let _daemons = Daemon::pythons(&host.lan.server, FOUR);
    let neighbours = |family, network| (1..=20).map(|host| member(family, network, host)).collect::<Vec<_>>();
    let met = |clients: Vec<IpAddr>| homes(&host, &clients).into_iter().collect::<BTreeSet<u16>>();
    for (prefix, family, network_is_one, all_are_one) in [
        ("", Family::V4, false, false),
        ("", Family::V6, true, false),
        ("24", Family::V4, true, false),
        ("16", Family::V4, true, true),
        ("32,48", Family::V6, true, true),
        ("32,128", Family::V6, false, false),
        ("0,0", Family::V4, true, true),
        ("0,0", Family::V6, true, true),
    ] {
        let flag = if prefix.is_empty() { String::new() } else { format!(" --sticky-prefix {prefix}") };
        host.attach(&format!("web 80/tcp to 8001 8002 8003 8004 --policy sticky{flag}"));
        let networks: Vec<BTreeSet<u16>> = (0..10).map(|network| met(neighbours(family, network))).collect();
        let is_one = |instances: &BTreeSet<u16>| instances.len() == 1;
        assert_eq!(networks.iter().all(is_one), network_is_one, "{prefix:?} {family:?}: {networks:?}");
        let all: BTreeSet<u16> = networks.iter().flatten().copied().collect();
        assert_eq!(is_one(&all), all_are_one, "{prefix:?} {family:?}: {networks:?}");
        host.wocut("detach web").ok();
    }
}

engines! { sticky_clients_are_spread_by_weight: ebpf tc }
fn sticky_clients_are_spread_by_weight(engine: Engine) {
    let host = Host::new(engine);
    gather(&host.lan);
    let _daemons = Daemon::pythons(&host.lan.server, FOUR);
    let clients: Vec<IpAddr> =
        (0..100).flat_map(|network| (0..100).map(move |host| member(Family::V4, network, host))).collect();
    let shares: Shares = [(8001, 1), (8002, 1), (8003, 1), (8004, 3)].into();
    let unfair = |_| {
        host.attach("web 80/tcp to 8001 8002 8003 8004*3 --policy sticky");
        let counts = count(homes(&host, &clients));
        host.wocut("detach web").ok();
        let p = p_value(&counts, &shares);
        (p <= LEAST_P).then(|| format!("p = {p}: {counts:?}"))
    };
    // Even a fair pick falls below the limit once in a thousand times, but not with two keys of its hash.
    assert!((0..2).any(|round| unfair(round).is_none()), "{:?}", unfair(2));
}

engines! { sticky_clients_of_others_stay_when_one_of_twenty_goes: ebpf tc }
fn sticky_clients_of_others_stay_when_one_of_twenty_goes(engine: Engine) {
    let host = Host::new(engine);
    gather(&host.lan);
    let ports: Vec<u16> = (8001..=8020).collect();
    let _daemons = Daemon::pythons(&host.lan.server, ports.clone());
    let instances: Vec<String> = ports.iter().map(ToString::to_string).collect();
    host.attach(&format!("web 80/tcp to {} --policy sticky", instances.join(" ")));
    let clients = crowd(Family::V6, 4000);
    let before = homes(&host, &clients);
    host.wocut("remove web 8007").ok();
    let after = homes(&host, &clients);
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    let had_to = before.iter().filter(|&&instance| instance == 8007).count();
    note(format_args!(
        "sticky, {engine:?}: {had_to} of 4000 clients had to move, {} others did",
        moved - had_to
    ));
    assert!(had_to > 100 && moved - had_to < 4000 / 20, "{had_to} of {moved}");
}

engines! { every_policy_serves_with_one_instance_and_with_none: ebpf tc }
fn every_policy_serves_with_one_instance_and_with_none(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    for policy in POLICIES {
        host.attach(&format!("web 80/tcp to 8001 8002*0 --policy {policy}"));
        host.burst_both(200).no_failure().only(&[8001]);
        host.wocut("weight web 8001 0").ok();
        host.burst_both(200).no_failure().only(&[SERVICE]);
        host.wocut("weight web 8002 256").ok();
        host.burst_both(200).no_failure().only(&[8002]);
        host.wocut("detach web").ok();
    }
}

engines! { every_policy_finds_the_few_that_listen_among_a_thousand: ebpf tc }
fn every_policy_finds_the_few_that_listen_among_a_thousand(engine: Engine) {
    let host = Host::new(engine);
    let listening = [10_001, 10_500, 11_024];
    let _daemons = Daemon::pythons(&host.lan.server, listening);
    let all: Vec<String> = (10_001..=11_024).map(|port: u16| port.to_string()).collect();
    for policy in POLICIES {
        host.attach(&format!("web 80/tcp to {} --policy {policy}", all.join(" ")));
        host.burst_both(100).no_failure().among(&listening);
        assert_eq!(host.service("web")["unserved"], 0);
        host.wocut("detach web").ok();
    }
}

engines! { every_policy_counts_exactly: ebpf tc }
fn every_policy_counts_exactly(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, FOUR);
    for policy in POLICIES {
        host.attach(&format!("web 80/tcp 81/tcp to 8001 8002 8003 8004*2 --policy {policy}"));
        let second = burst(&host.lan.client, host.lan.at(Family::V4, 81), 200);
        let tally = host.burst_both(800).merge(second);
        tally.no_failure();
        wait_until("the last connection ends", SOON, || active(&host).values().all(|&open| open == 0));
        let instances = host.instances("web");
        for port in FOUR {
            let instance = &instances[&port.to_string()];
            let (received, sent) = tally.bytes.get(&port).copied().unwrap_or_default();
            assert_eq!(instance["connections"], tally.by(port), "{policy}: {instance}");
            assert_eq!(instance["received_bytes"], received, "{policy}: {instance}");
            assert_eq!(instance["sent_bytes"], sent, "{policy}: {instance}");
        }
        let service = host.service("web");
        assert_eq!((&service["policy"], &service["unserved"]), (&policy.into(), &0.into()));
        host.wocut("detach web").ok();
    }
}

engines! { options_that_make_no_sense_are_refused: ebpf }
fn options_that_make_no_sense_are_refused(engine: Engine) {
    let host = Host::new(engine);
    for (options, reason) in [
        ("--policy x", "`random` `round-robin` `least-conn` `least-backlog` `sticky`"),
        ("--policy sticky --sticky-prefix 33", "0 to 32 for IPv4"),
        ("--policy sticky --sticky-prefix 24,129", "0 to 128 for IPv6"),
        ("--policy sticky --sticky-prefix -1", "-1"),
        ("--hook xdp", "`auto` `sk_lookup` `tc`"),
        ("--on-empty shrug", "`pass` `drop` `reject`"),
    ] {
        host.wocut(&format!("attach web 80/tcp to 8001 --engine {} {options}", engine.word()))
            .code(2)
            .says("error: ")
            .says(reason);
        assert!(!host.lan.server.state().exists());
    }
}
