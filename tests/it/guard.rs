//! `--guard`: who may reach an instance's own port.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::burst;
use wocut_tests::must::Must as _;
use wocut_tests::netns::Netns;
use wocut_tests::udp::{Flow, unanswered};

/// Fails the test unless a place refuses clients of a namespace, and at once.
#[track_caller]
fn refuses(from: &Netns, to: SocketAddr) {
    let tally = burst(from, to, 5);
    assert_eq!(tally.failures.len(), 5, "{to} answered: {:?}", tally.answers);
    for (failure, took) in &tally.failures {
        assert_eq!(failure.error.kind(), ErrorKind::ConnectionRefused, "{to}");
        assert!(*took < Duration::from_millis(900), "{to} took {took:?}: nobody answered the first SYN");
    }
}

#[track_caller]
fn serves(from: &Netns, to: SocketAddr, instances: &[u16]) {
    burst(from, to, 40).no_failure().only(instances);
}

engines! { guarded_instances_are_for_the_service_and_this_host: ebpf tc }
fn guarded_instances_are_for_the_service_and_this_host(engine: Engine) {
    let host = Host::new(engine);
    let (server, client) = (&host.lan.server, &host.lan.client);
    let _daemons = Daemon::pythons(server, [8001, 8002, 8003, 9001]);
    host.attach("web 80/tcp to 8001 8002 --guard");
    assert_eq!(host.service("web")["guard"], true);
    for family in Family::BOTH {
        for port in [8001, 8002] {
            refuses(client, host.lan.at(family, port));
            serves(server, (family.loopback(), port).into(), &[port]);
            serves(server, host.lan.at(family, port), &[port]);
        }
        serves(client, host.lan.at(family, 9001), &[9001]);
        serves(client, host.lan.at(family, SERVICE), &[8001, 8002]);
        serves(server, (family.loopback(), SERVICE).into(), &[8001, 8002]);
        serves(server, host.lan.at(family, SERVICE), &[8001, 8002]);

        serves(client, host.lan.at(family, 8003), &[8003]);
    }
    host.wocut("add web 8003").ok();
    host.wocut("remove web 8001").ok();
    for family in Family::BOTH {
        refuses(client, host.lan.at(family, 8003));
        serves(client, host.lan.at(family, 8001), &[8001]);
        serves(client, host.lan.at(family, SERVICE), &[8002, 8003]);
    }
    host.wocut("drain web 8003").ok();
    refuses(client, host.lan.at(Family::V4, 8003));
    host.wocut("detach web").ok();
    for (family, port) in Family::BOTH.into_iter().flat_map(|family| [(family, 8002), (family, 8003)]) {
        serves(client, host.lan.at(family, port), &[port]);
    }
}

engines! { guard_is_of_one_service_and_stays_while_another_goes: ebpf tc }
fn guard_is_of_one_service_and_stays_while_another_goes(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002, 8003]);
    host.attach("web 80/tcp to 8001 8002 --guard");
    host.attach("api 81/tcp to 8002 8003 --force");
    for family in Family::BOTH {
        refuses(&host.lan.client, host.lan.at(family, 8002));
        serves(&host.lan.client, host.lan.at(family, 8003), &[8003]);
        serves(&host.lan.client, host.lan.at(family, 81), &[8002, 8003]);
    }
    host.wocut("detach api").ok();
    refuses(&host.lan.client, host.lan.at(Family::V6, 8002));
    host.attach("api 81/tcp to 8002 8003 --force");
    host.wocut("detach web").ok();
    serves(&host.lan.client, host.lan.at(Family::V4, 8002), &[8002]);
    serves(&host.lan.client, host.lan.at(Family::V4, 81), &[8002, 8003]);
}

engines! { instance_with_an_address_is_guarded_there: ebpf tc }
fn instance_with_an_address_is_guarded_there(engine: Engine) {
    let host = Host::new(engine);
    let (server, client) = (&host.lan.server, &host.lan.client);
    server.ip("address add 10.1.0.3/24 dev lan1");
    let four = |address, label| Listen { address, label: Some(label), ..Listen::on(8001) };
    let _daemons = [four("10.1.0.1", 9001), four("10.1.0.3", 9003), four("127.0.0.1", 9000)]
        .map(|listen| Daemon::python_with(server, listen));
    host.attach("web 10.1.0.1:80/tcp to 10.1.0.1:8001 --guard");
    let other: SocketAddr = "10.1.0.3:8001".parse().must("parse an address");
    refuses(client, host.lan.at(Family::V4, 8001));
    serves(client, other, &[9003]);
    serves(client, host.lan.at(Family::V4, SERVICE), &[9001]);
    serves(server, host.lan.at(Family::V4, 8001), &[9001]);
    serves(server, (Family::V4.loopback(), 8001).into(), &[9000]);
}

engines! { open_direct_connections_outlive_the_guard: ebpf tc }
fn open_direct_connections_outlive_the_guard(engine: Engine) {
    let host = Host::new(engine);
    let _daemon = Daemon::python(&host.lan.server, 8001);
    let to = host.lan.at(Family::V4, 8001);
    let mut held = wocut_tests::held::Held::open(&host.lan.client, to);
    host.attach("web 80/tcp to 8001 --guard");
    refuses(&host.lan.client, to);
    held.alive();
}

engines! { direct_datagrams_to_a_guarded_instance_are_dropped: ebpf }
fn direct_datagrams_to_a_guarded_instance_are_dropped(engine: Engine) {
    let host = Host::new(engine);
    let (server, client) = (&host.lan.server, &host.lan.client);
    let _daemons = Daemon::udp(server, [8001]);
    host.attach("dns 53/udp to 8001 --guard");
    for family in Family::BOTH {
        let through = Flow::open(client, 10_000, host.lan.at(family, 53));
        // What the service answers comes after what the instance would have answered.
        assert!(unanswered(client, host.lan.at(family, 8001), || through.stays()), "{family:?}");
        Flow::open(server, 10_001, (family.loopback(), 8001).into());
        Flow::open(server, 10_002, host.lan.at(family, 8001));
    }
    host.wocut("detach dns").ok();
    for family in Family::BOTH {
        Flow::open(client, 10_003, host.lan.at(family, 8001)).stays();
    }
}
