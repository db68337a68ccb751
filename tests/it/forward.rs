//! Traffic that is not for this host, and traffic that never leaves it.

use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::{Family, Lan};
use wocut_tests::load::burst;
use wocut_tests::must::Must as _;

/// What the daemon on the host beyond calls itself.
const BEYOND: u16 = 9000;

engines! { forwarded_connections_are_left_alone: ebpf tc nft legacy }
fn forwarded_connections_are_left_alone(engine: Engine) {
    let host = Host::on(Lan::with_beyond(), engine);
    let beyond = host.lan.beyond.as_ref().must("have a host beyond");
    let _other = Daemon::python_with(beyond, Listen { label: Some(BEYOND), ..Listen::on(SERVICE) });
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.attach("web 80/tcp to 8001 8002");
    for family in Family::BOTH {
        let to = host.lan.beyond_at(family, SERVICE);
        let forwarded = burst(&host.lan.client, to, 200);
        forwarded.no_failure().only(&[BEYOND]);
        assert!(forwarded.strangers.is_empty(), "the other host saw {:?}", forwarded.strangers.first());
        burst(&host.lan.server, to, 200).no_failure().only(&[BEYOND]);
        host.burst(family, 200).no_failure().only(&[8001, 8002]);
    }
}

engines! { loopback_clients_are_balanced: ebpf tc nft legacy }
fn loopback_clients_are_balanced(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8004);
    host.attach("web 80/tcp to 8001 8002 8003 8004");
    for family in Family::BOTH {
        for to in [(family.loopback(), SERVICE).into(), host.lan.at(family, SERVICE)] {
            burst(&host.lan.server, to, 400).no_failure().only(&[8001, 8002, 8003, 8004]);
        }
    }
}
