//! Who gets the new connections, and what the daemons see of them.

use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::emulated::times;
use wocut_tests::engine::Engine;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::burst;
use wocut_tests::need::{reuseport, tool};
use wocut_tests::stats::{LEAST_P, Shares};
use wocut_tests::tally::Tally;
use wocut_tests::{engines, need};

const MANY: u64 = 20_000;

/// Even a fair pick falls below the limit once in a thousand times, so the first time does not count.
fn fairly(host: &Host, family: Family, shares: &Shares) -> Tally {
    let many = times(MANY);
    let tally = host.burst(family, many);
    assert_eq!(tally.no_failure().answered_total(), many);
    if tally.p_value(shares) <= LEAST_P {
        let again = host.burst(family, many);
        let p = [tally.p_value(shares), again.p_value(shares)];
        assert!(p[1] > LEAST_P, "twice not {shares:?}, p = {p:?}: {:?}, {:?}", tally.answers, again.answers);
    }
    tally
}

engines! { equal_instances_get_equal_shares: ebpf tc nft legacy }
fn equal_instances_get_equal_shares(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8008);
    host.attach("web 80/tcp to 8001 8002 8003 8004 8005 8006 8007 8008");
    let shares: Shares = (8001..=8008).map(|port| (port, 1)).collect();
    for family in Family::BOTH {
        let tally = fairly(&host, family, &shares);
        assert!(tally.strangers.is_empty(), "daemons saw other clients: {:?}", tally.strangers.first());
        let seen: Vec<u16> = tally.local_ports.into_keys().collect();
        let own: Vec<u16> = if engine.is_ebpf() { vec![SERVICE] } else { (8001..=8008).collect() };
        assert_eq!(seen, own, "the daemons' own port");
    }
}

engines! { weights_are_shares: ebpf tc nft legacy }
fn weights_are_shares(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    host.attach("web 80/tcp to 8001 8002*2 8003*5");
    for family in Family::BOTH {
        fairly(&host, family, &[(8001, 1), (8002, 2), (8003, 5)].into());
    }
}

engines! { nginx_serves_without_a_change: ebpf tc nft legacy }
fn nginx_serves_without_a_change(engine: Engine) {
    need!(tool("nginx"));
    need!(reuseport(engine));
    let host = Host::new(engine);
    let _daemons = [8001, 8002].map(|port| Daemon::nginx(&host.lan.server, port));
    host.attach("web 80/tcp to 8001 8002");
    let tally = host.burst_both(1000);
    tally.no_failure().only(&[8001, 8002]);
    assert!(tally.strangers.is_empty(), "nginx saw other clients: {:?}", tally.strangers.first());
}

engines! { one_service_listens_on_many_ports: ebpf tc nft legacy }
fn one_service_listens_on_many_ports(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.attach("web 80/tcp 8080/tcp to 8001 8002");
    for port in [80, 8080] {
        for family in Family::BOTH {
            burst(&host.lan.client, host.lan.at(family, port), 100).no_failure().only(&[8001, 8002]);
        }
    }
}

engines! { service_on_one_address_goes_before_one_on_all: ebpf tc nft legacy }
fn service_on_one_address_goes_before_one_on_all(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    host.attach("all 80/tcp to 8001");
    host.attach("four 10.1.0.1:80/tcp to 8002");
    host.attach("six [fd00:1::1]:80/tcp to 8003");
    host.burst(Family::V4, 50).no_failure().only(&[8002]);
    host.burst(Family::V6, 50).no_failure().only(&[8003]);
    let at_home = (Family::V4.loopback(), SERVICE).into();
    burst(&host.lan.server, at_home, 50).no_failure().only(&[8001]);
}

engines! { daemon_on_the_loopback_address_serves_remote_clients: ebpf tc }
fn daemon_on_the_loopback_address_serves_remote_clients(engine: Engine) {
    let host = Host::new(engine);
    let listen =
        |port, address| Daemon::python_with(&host.lan.server, Listen { address, ..Listen::on(port) });
    let _daemons = [listen(8001, "127.0.0.1"), listen(8002, "::1")];
    host.attach("web 80/tcp to 127.0.0.1:8001 [::1]:8002");
    host.burst(Family::V4, 50).no_failure().only(&[8001]);
    host.burst(Family::V6, 50).no_failure().only(&[8002]);
}

engines! { daemon_of_one_family_gets_clients_of_that_family_only: ebpf tc }
fn daemon_of_one_family_gets_clients_of_that_family_only(engine: Engine) {
    let host = Host::new(engine);
    let _four = Daemon::python_with(&host.lan.server, Listen { address: "0.0.0.0", ..Listen::on(8001) });
    let _both = Daemon::python(&host.lan.server, 8002);
    host.attach("web 80/tcp to 8001 8002");
    host.burst(Family::V4, 200).no_failure().only(&[8001, 8002]);
    host.burst(Family::V6, 200).no_failure().only(&[8002]);
}
