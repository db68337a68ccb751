//! Services whose instances are all drained or dead.

use std::io::ErrorKind;

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::burst;

/// Clients at home and elsewhere are refused in so many words, and do not wait.
#[track_caller]
fn refuses(host: &Host) {
    for family in Family::BOTH {
        let at_home = (family.loopback(), SERVICE).into();
        for (from, to) in [(&host.lan.client, host.lan.at(family, SERVICE)), (&host.lan.server, at_home)] {
            let refused = burst(from, to, 5);
            let kinds: Vec<_> = refused.failures.iter().map(|(failure, _)| failure.error.kind()).collect();
            assert_eq!(kinds, [ErrorKind::ConnectionRefused; 5], "{to} answered {:?}", refused.answers);
        }
    }
}

engines! { clients_are_refused_while_every_instance_is_drained: ebpf tc nft legacy }
fn clients_are_refused_while_every_instance_is_drained(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001 8002 --on-empty reject");
    let open = |family| Held::open_on_each(&host.lan.client, host.lan.at(family, SERVICE), &[8001, 8002]);
    let mut held: Vec<Held> = Family::BOTH.into_iter().flat_map(open).collect();
    host.wocut("drain web 8001").ok();
    host.burst_both(100).no_failure().only(&[8002]);
    host.wocut("maint web 8002").ok();
    refuses(&host);
    held.iter_mut().for_each(Held::alive);
    host.wocut("ready web 8001").ok();
    host.burst_both(100).no_failure().only(&[8001]);
    held.iter_mut().for_each(Held::alive);
}

engines! { clients_are_refused_while_every_instance_is_dead: ebpf tc }
fn clients_are_refused_while_every_instance_is_dead(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    let daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001 8002 --on-empty reject");
    host.burst_both(100).no_failure().only(&[8001, 8002]);
    daemons.into_iter().for_each(Daemon::kill);
    refuses(&host);
    let _again = Daemon::python(&host.lan.server, 8002);
    host.burst_both(100).no_failure().only(&[8002]);
}

engines! { plain_listener_serves_while_every_instance_is_drained: ebpf tc nft legacy }
fn plain_listener_serves_while_every_instance_is_drained(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001 8002 --on-empty pass");
    host.wocut("drain web 8001").ok();
    host.burst_both(100).no_failure().only(&[8002]);
    host.wocut("drain web 8002").ok();
    host.burst_both(100).no_failure().only(&[SERVICE]);
    for family in Family::BOTH {
        let at_home = (family.loopback(), SERVICE).into();
        burst(&host.lan.server, at_home, 50).no_failure().only(&[SERVICE]);
    }
    host.wocut("ready web 8002").ok();
    host.burst_both(100).no_failure().only(&[8002]);
}

engines! { plain_listener_serves_while_every_instance_is_dead: ebpf tc }
fn plain_listener_serves_while_every_instance_is_dead(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    let daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001 8002 --on-empty pass");
    host.burst_both(100).no_failure().only(&[8001, 8002]);
    daemons.into_iter().for_each(Daemon::kill);
    host.burst_both(100).no_failure().only(&[SERVICE]);
}

engines! { refusal_of_one_service_is_not_that_of_another: ebpf tc nft legacy }
fn refusal_of_one_service_is_not_that_of_another(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001 --on-empty reject");
    host.attach("api 81/tcp to 8001 --force");
    host.attach("four 10.1.0.1:80/tcp to 8002");
    host.wocut("drain web 8001").ok();
    host.burst(Family::V4, 50).no_failure().only(&[8002]);
    assert_eq!(host.burst(Family::V6, 5).failures.len(), 5);
    for family in Family::BOTH {
        burst(&host.lan.client, host.lan.at(family, 81), 50).no_failure().only(&[8001]);
    }
}
