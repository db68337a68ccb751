//! Instances that die, hang, and come back.

use std::time::{Duration, Instant};

use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::emulated::{limit, times};
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::silent;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::sockets::{AcceptQueue, accept_queue};
use wocut_tests::wait::wait_until;

const CLIENTS: usize = 200;

engines! { killed_instances_fail_no_connect: ebpf tc }
fn killed_instances_fail_no_connect(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons = Daemon::pythons(&host.lan.server, 8001..=8008);
    host.attach("web 80/tcp to 8001 8002 8003 8004 8005 8006 8007 8008");
    let load = host.load(CLIENTS);
    for _ in 0..3 {
        load.go_on(times(2000));
        daemons.remove(0).kill();
    }
    load.go_on(times(5000));
    load.stop().no_failed_connect();
    host.burst_both(1000).no_failure().only(&[8004, 8005, 8006, 8007, 8008]);
    let instances = host.instances("web");
    assert_eq!(instances["8001"]["listening"], false);
    assert_eq!(instances["8008"]["listening"], true);
}

engines! { restarted_instance_is_picked_again_in_the_same_second: ebpf tc nft legacy }
fn restarted_instance_is_picked_again_in_the_same_second(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons = Daemon::pythons(&host.lan.server, 8001..=8004);
    host.attach("web 80/tcp to 8001 8002 8003 8004");
    for family in Family::BOTH {
        daemons.remove(0).kill();
        let port = 8001 + u16::from(family == Family::V6);
        daemons.push(Daemon::python(&host.lan.server, port));
        let start = Instant::now();
        let picked = || host.burst(family, 20).no_failure().by(port) > 0;
        wait_until("the restarted instance is picked", Duration::from_secs(1), picked);
        assert!(start.elapsed() < limit(Duration::from_secs(1)));
    }
}

engines! { instance_that_starts_after_attach_is_picked: ebpf tc nft legacy }
fn instance_that_starts_after_attach_is_picked(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001 8002");
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.burst_both(200).no_failure().only(&[8001, 8002]);
}

engines! { stopped_instance_makes_no_new_connection_wait: ebpf tc }
fn stopped_instance_makes_no_new_connection_wait(engine: Engine) {
    let host = Host::new(engine);
    let hung = Daemon::python_with(&host.lan.server, Listen { backlog: 16, ..Listen::on(8001) });
    let _others = Daemon::pythons(&host.lan.server, 8002..=8004);
    host.attach("web 80/tcp to 8001 8002 8003 8004");
    hung.stop();
    let mut waiting = Vec::new();
    wait_until("the accept queue of the stopped instance is full", Duration::from_secs(10), || {
        waiting.extend(silent(&host.lan.client, host.lan.at(Family::V4, SERVICE), 8));
        accept_queue(&host.lan.server, 8001).is_some_and(AcceptQueue::is_full)
    });
    for family in Family::BOTH {
        let tally = host.burst(family, times(5000));
        tally.no_failure().only(&[8002, 8003, 8004]);
        assert!(tally.slowest < Duration::from_secs(1), "the slowest took {:?}", tally.slowest);
    }
    drop(waiting);
    hung.resume();
    wait_until("the resumed instance is picked", Duration::from_secs(5), || {
        host.burst_both(100).no_failure().by(8001) > 0
    });
}

engines! { without_any_instance_the_plain_listener_serves: ebpf tc }
fn without_any_instance_the_plain_listener_serves(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    host.attach("web 80/tcp to 8001 8002");
    host.burst_both(100).no_failure().only(&[SERVICE]);
    let _instance = Daemon::python(&host.lan.server, 8002);
    host.burst_both(100).no_failure().only(&[8002]);
}

engines! { without_any_instance_clients_are_refused_if_told_so: ebpf tc }
fn without_any_instance_clients_are_refused_if_told_so(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    host.attach("web 80/tcp to 8001 --on-empty reject");
    for family in Family::BOTH {
        let refused = host.burst(family, 5);
        assert_eq!(refused.failures.len(), 5, "answered: {:?}", refused.answers);
    }
}
