//! `--guard` on the rules engine: who may use the instances' own ports.

use std::io::ErrorKind;
use std::net::SocketAddr;

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::burst;
use wocut_tests::netns::Netns;
use wocut_tests::tally::Tally;
use wocut_tests::udp;

#[track_caller]
fn is_refused(tally: &Tally) {
    let kinds: Vec<_> = tally.failures.iter().map(|(failure, _)| failure.error.kind()).collect();
    assert!(tally.answers.is_empty() && !kinds.is_empty(), "{:?}", tally.answers);
    assert!(kinds.iter().all(|kind| *kind == ErrorKind::ConnectionRefused), "{kinds:?}");
}

#[track_caller]
fn serves(from: &Netns, to: SocketAddr) {
    burst(from, to, 5).no_failure().only(&[to.port()]);
}

engines! { remote_clients_of_guarded_instances_are_refused: nft legacy }
fn remote_clients_of_guarded_instances_are_refused(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8005);
    host.attach("web 80/tcp to 8001 8002 four=10.1.0.1:8003 six=[fd00:1::1]:8004 --guard");
    host.wocut("drain web 8002").ok();
    for (family, named) in [(Family::V4, 8003), (Family::V6, 8004)] {
        for port in [8001, 8002, named] {
            is_refused(&burst(&host.lan.client, host.lan.at(family, port), 5));
            serves(&host.lan.server, host.lan.at(family, port));
            serves(&host.lan.server, (family.loopback(), port).into());
        }
        serves(&host.lan.client, host.lan.at(family, 8005));
        host.burst(family, 100).no_failure().only(&[8001, named]);
        let at_home = (family.loopback(), SERVICE).into();
        burst(&host.lan.server, at_home, 50).no_failure().only(&[8001, named]);
    }
    host.wocut("add web 8005").ok();
    is_refused(&burst(&host.lan.client, host.lan.at(Family::V4, 8005), 5));
    host.wocut("remove web 8001").ok();
    serves(&host.lan.client, host.lan.at(Family::V4, 8001));
    host.wocut("detach web").ok();
    serves(&host.lan.client, host.lan.at(Family::V6, 8002));
}

engines! { guard_holds_where_the_service_does_not_listen: nft legacy }
fn guard_holds_where_the_service_does_not_listen(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001]);
    host.attach("web 10.1.0.1:80/tcp to 8001 --guard");
    is_refused(&burst(&host.lan.client, host.lan.at(Family::V6, 8001), 5));
    host.burst(Family::V4, 20).no_failure().only(&[8001]);
}

engines! { open_direct_connections_outlive_the_guard: nft legacy }
fn open_direct_connections_outlive_the_guard(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001]);
    // Conntrack knows nothing of them: no rule asked for it when they were made.
    let mut held = Family::BOTH.map(|family| Held::open(&host.lan.client, host.lan.at(family, 8001)));
    host.attach("web 80/tcp to 8001 --guard");
    is_refused(&burst(&host.lan.client, host.lan.at(Family::V4, 8001), 5));
    for _ in 0..3 {
        held.iter_mut().for_each(Held::alive);
    }
}

engines! { remote_flows_to_guarded_instances_are_refused: nft legacy }
fn remote_flows_to_guarded_instances_are_refused(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, [8001, 8002]);
    host.attach("dns 53/udp to 8001 8002 --guard");
    for family in Family::BOTH {
        // One, because the kernel sends these answers at a limited rate.
        is_refused(&udp::burst(&host.lan.client, 10_000..10_001, host.lan.at(family, 8001)));
        udp::burst(&host.lan.client, 11_000..11_100, host.lan.at(family, 53))
            .no_failure()
            .only(&[8001, 8002]);
        udp::burst(&host.lan.server, 12_000..12_010, host.lan.at(family, 8001)).no_failure().only(&[8001]);
    }
}
