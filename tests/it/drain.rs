//! Instances that get no new connections, and keep those they have.

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;

const ALL: [u16; 3] = [8001, 8002, 8003];

/// Takes 8001 out with one command and puts it back with another.
fn leaves_and_comes_back(engine: Engine, out: &str, back: &str) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003");
    let open = |family| Held::open_on_each(&host.lan.client, host.lan.at(family, SERVICE), &ALL);
    let mut held: Vec<Held> = Family::BOTH.into_iter().flat_map(open).collect();
    host.wocut(out).ok();
    host.burst_both(400).no_failure().only(&[8002, 8003]);
    held.iter_mut().for_each(Held::alive);
    host.wocut(back).ok();
    host.burst_both(400).no_failure().only(&ALL);
    held.iter_mut().for_each(Held::alive);
}

engines! { drained_instance_keeps_its_connections: ebpf tc nft legacy }
fn drained_instance_keeps_its_connections(engine: Engine) {
    leaves_and_comes_back(engine, "drain web 8001", "ready web 8001");
}

engines! { instance_in_maintenance_keeps_its_connections: ebpf tc nft legacy }
fn instance_in_maintenance_keeps_its_connections(engine: Engine) {
    leaves_and_comes_back(engine, "maint web 8001", "ready web 8001");
}

engines! { instance_of_weight_0_keeps_its_connections: ebpf tc nft legacy }
fn instance_of_weight_0_keeps_its_connections(engine: Engine) {
    leaves_and_comes_back(engine, "weight web 8001 0", "weight web 8001 1");
}

engines! { removed_instance_keeps_its_connections: ebpf tc nft legacy }
fn removed_instance_keeps_its_connections(engine: Engine) {
    leaves_and_comes_back(engine, "remove web 8001", "add web 8001");
}

engines! { connections_outlive_the_service: ebpf tc nft legacy }
fn connections_outlive_the_service(engine: Engine) {
    let host = Host::with_firewall(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003");
    let open = |family| Held::open_on_each(&host.lan.client, host.lan.at(family, SERVICE), &ALL);
    let mut held: Vec<Held> = Family::BOTH.into_iter().flat_map(open).collect();
    host.wocut("detach web").ok();
    held.iter_mut().for_each(Held::alive);
}

engines! { with_every_instance_drained_the_plain_listener_serves: ebpf tc nft legacy }
fn with_every_instance_drained_the_plain_listener_serves(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001 8002");
    host.wocut("drain web 8001").ok();
    host.wocut("drain web 8002").ok();
    host.burst_both(100).no_failure().only(&[SERVICE]);
}
