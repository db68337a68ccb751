//! `--kill`: connections that are ended, and those that are not.

use std::net::{Ipv4Addr, SocketAddr};

use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::engine::Engine;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE, words};
use wocut_tests::lan::Family;
use wocut_tests::need::{mangled_ports, tool};
use wocut_tests::udp::Flow;
use wocut_tests::{engines, need};

const ALL: [u16; 3] = [8001, 8002, 8003];

/// Connections to a port of the server, from the client and from the server itself, of both families.
fn everywhere(host: &Host, port: u16, instances: &[u16]) -> Vec<Held> {
    let mut held = Vec::new();
    for family in Family::BOTH {
        held.extend(Held::open_on_each(&host.lan.client, host.lan.at(family, port), instances));
        held.extend(Held::open_on_each(&host.lan.server, (family.loopback(), port).into(), instances));
    }
    held
}

/// Those that an instance has, and the others.
fn split(held: Vec<Held>, instance: u16) -> (Vec<Held>, Vec<Held>) {
    held.into_iter().partition(|held| held.answer.instance == instance)
}

engines! { killing_ends_what_came_through_the_service_to_the_instance: ebpf nft legacy }
fn killing_ends_what_came_through_the_service_to_the_instance(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003");
    // The same instances, behind another service.
    host.attach("api 81/tcp to 8001 8002 --force");
    let (mut killed, mut others) = split(everywhere(&host, SERVICE, &ALL), 8001);
    let mut direct = everywhere(&host, 8001, &[8001]);
    let mut api = everywhere(&host, 81, &[8001, 8002]);
    let drain = host.wocut("drain web 8001 --kill --json").ok().json();
    assert_eq!((&drain["left"], &drain["killed"]), (&0.into(), &killed.len().into()), "{drain}");
    killed.iter_mut().for_each(Held::dead);
    others.iter_mut().chain(&mut direct).chain(&mut api).for_each(Held::alive);
    host.burst_both(100).no_failure().only(&[8002, 8003]);
    if engine == Engine::Ebpf {
        assert_eq!(host.instances("web")["8001"]["active"], 0);
        assert_eq!(host.instances("web")["8001"]["connections"], killed.len());
    }
    let again = host.wocut("drain web 8001 --kill");
    assert_eq!(again.ok().stdout, "web/8001 is drain already\nkilled 0 connections of web/8001\n");
}

engines! { at_the_deadline_what_is_left_is_killed: ebpf nft legacy }
fn at_the_deadline_what_is_left_is_killed(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003");
    let (mut killed, mut others) = split(everywhere(&host, SERVICE, &ALL), 8001);
    let drain = host.wocut("drain web 8001 --wait 50ms --kill");
    let said = format!("web/8001 is drain, was ready\nkilled {} connections of web/8001\n", killed.len());
    assert_eq!(drain.ok().stdout, said);
    killed.iter_mut().for_each(Held::dead);
    others.iter_mut().for_each(Held::alive);
}

engines! { remove_can_kill: ebpf nft legacy }
fn remove_can_kill(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003");
    let (mut others, mut killed) = split(everywhere(&host, SERVICE, &ALL), 8003);
    let mut direct = everywhere(&host, 8001, &[8001]);
    let remove = host.wocut("remove web 8001 8002 --kill");
    let said = format!(
        "drained web/8001 web/8002\nkilled {} connections of web/8001 web/8002\nremoved 8001 8002 from web\n",
        killed.len()
    );
    assert_eq!(remove.ok().stdout, said);
    host.has_instances("web", &[8003]);
    killed.iter_mut().for_each(Held::dead);
    others.iter_mut().chain(&mut direct).for_each(Held::alive);
}

engines! { detach_can_kill: ebpf nft legacy }
fn detach_can_kill(engine: Engine) {
    let host = Host::with_firewall(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002");
    host.attach("api 81/tcp to 8002 8003 --force");
    let mut web = everywhere(&host, SERVICE, &[8001, 8002]);
    let mut api = everywhere(&host, 81, &[8002, 8003]);
    let mut direct = everywhere(&host, 8002, &[8002]);
    let detach = host.wocut("detach web --kill --json").ok().json();
    assert_eq!(detach["killed"], web.len());
    web.iter_mut().for_each(Held::dead);
    api.iter_mut().chain(&mut direct).for_each(Held::alive);
    let detach = host.wocut("detach --all --wait 50ms --kill --json").ok().json();
    assert_eq!(detach["killed"], api.len());
    api.iter_mut().for_each(Held::dead);
    direct.iter_mut().for_each(Held::alive);
    assert!(!host.lan.server.state().exists());
}

engines! { connections_of_every_kind_of_listener_are_killed: ebpf nft legacy }
fn connections_of_every_kind_of_listener_are_killed(engine: Engine) {
    let host = Host::new(engine);
    let listen = |port, address, v6only| Listen { address, v6only, ..Listen::on(port) };
    let listens = [listen(8001, "0.0.0.0", false), listen(8002, "::", true), listen(8003, "::", false)];
    let _daemons = listens.map(|listen| Daemon::python_with(&host.lan.server, listen));
    // Rules know no listeners.
    host.attach("v4 81/tcp to 8001 8003 --force");
    host.attach("v6 82/tcp to 8002 8003 --force");
    let mut held = Vec::new();
    for (family, port, instances) in [(Family::V4, 81, [8001, 8003]), (Family::V6, 82, [8002, 8003])] {
        held.extend(Held::open_on_each(&host.lan.client, host.lan.at(family, port), &instances));
    }
    for (service, instance) in [("v4", 8001), ("v4", 8003), ("v6", 8002), ("v6", 8003)] {
        let is_mine =
            |held: &Held| held.answer.instance == instance && held.answer.peer.is_ipv4() == (service == "v4");
        let (mut killed, others): (Vec<_>, Vec<_>) = held.into_iter().partition(is_mine);
        let drain = host.wocut(&format!("drain {service} {instance} --kill --json")).ok().json();
        assert_eq!(drain["killed"], killed.len(), "{drain}");
        killed.iter_mut().for_each(Held::dead);
        held = others;
        held.iter_mut().for_each(Held::alive);
    }
}

engines! { connections_of_the_daemons_own_are_left_alone: ebpf nft legacy }
fn connections_of_the_daemons_own_are_left_alone(engine: Engine) {
    let host = Host::new(engine);
    let server = &host.lan.server;
    let SocketAddr::V4(at) = host.lan.at(Family::V4, SERVICE) else { panic!("not IPv4") };
    let address = at.ip().to_string();
    let _daemon = Daemon::python_with(server, Listen { address: &address, ..Listen::on(8001) });
    let _upstream = Daemon::python(server, 9000);
    host.attach("web 80/tcp to 8001");
    // To upstream, from what looks like the service's port and the instance's.
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, 9000).into();
    let mut own = [SERVICE, 8001].map(|port| Held::open_from(server, (Ipv4Addr::LOCALHOST, port).into(), to));
    // And from the instance's own end to the service port of another host.
    let _elsewhere = Daemon::python(&host.lan.client, SERVICE);
    let elsewhere = SocketAddr::new(host.lan.client_address(Family::V4), SERVICE);
    let mut out = Held::open(server, elsewhere);
    let mut held = Held::open(&host.lan.client, at.into());
    let detach = host.wocut("detach web --kill --json").ok().json();
    assert_eq!(detach["killed"], 1, "{detach}");
    held.dead();
    own.iter_mut().chain([&mut out]).for_each(Held::alive);
}

engines! { two_connections_from_one_client_port_are_both_killed: ebpf nft legacy }
fn two_connections_from_one_client_port_are_both_killed(engine: Engine) {
    need!(mangled_ports(engine));
    let host = Host::new(engine);
    let _daemon = Daemon::python(&host.lan.server, 8001);
    host.attach("web 80/tcp 81/tcp to 8001");
    let own = SocketAddr::new(host.lan.client_address(Family::V4), 5555);
    // The instance cannot tell them apart by port, so rules give one another port.
    let open = |port| Held::open_from(&host.lan.client, own, host.lan.at(Family::V4, port));
    let mut held = [80, 81].map(open);
    assert_eq!(host.wocut("drain web 8001 --kill --json").ok().json()["killed"], 2);
    held.iter_mut().for_each(Held::dead);
}

engines! { connections_on_a_port_that_the_service_left_are_killed: ebpf }
fn connections_on_a_port_that_the_service_left_are_killed(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001 8002");
    let mut held = Held::open_on_each(&host.lan.client, host.lan.at(Family::V6, SERVICE), &[8001]);
    host.attach("web 81/tcp to 8001 8002 --force");
    let (mut killed, mut others): (Vec<_>, Vec<_>) =
        held.drain(..).partition(|held| held.answer.instance == 8001);
    assert_eq!(host.wocut("drain web 8001 --kill --json").ok().json()["killed"], killed.len());
    killed.iter_mut().for_each(Held::dead);
    others.iter_mut().for_each(Held::alive);
}

engines! { killing_can_be_rehearsed: ebpf nft legacy }
fn killing_can_be_rehearsed(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001 8002");
    let (mut killed, mut others) = split(everywhere(&host, SERVICE, &[8001, 8002]), 8001);
    let remove = host.wocut("remove web 8001 --wait 1h --kill --dry-run");
    let count = killed.len();
    let line =
        format!("would: wait 1h for {count} open connections of web/8001, then kill those that are left\n");
    assert!(remove.ok().stdout.contains(&line), "{remove}");
    assert_eq!(host.instances("web")["8001"]["admin"], "ready");
    killed.iter_mut().chain(&mut others).for_each(Held::alive);
}

engines! { lacking_capability_is_named_before_anything_changes: ebpf nft legacy }
fn lacking_capability_is_named_before_anything_changes(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001 8002");
    let drain = words("drain web 8001 --kill");
    host.wocut_under(&["setpriv", "--bounding-set", "-net_admin"], &drain).code(1).says("CAP_NET_ADMIN");
    assert_eq!(host.instances("web")["8001"]["admin"], "ready");
}

engines! { flows_are_killed: nft legacy }
fn flows_are_killed(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    let at = |family| host.lan.at(family, 53);
    let open = |family| Flow::open_on_each(&host.lan.client, 10_000..10_100, at(family), &ALL);
    let flows: Vec<Flow> = Family::BOTH.into_iter().flat_map(open).collect();
    let (killed, others): (Vec<_>, Vec<_>) = flows.into_iter().partition(|flow| flow.answer.instance == 8001);
    let direct = Family::BOTH.map(|family| Flow::open(&host.lan.client, 20_000, host.lan.at(family, 8001)));
    assert_eq!(host.wocut("drain dns 8001 --kill --json").ok().json()["killed"], killed.len());
    assert!(
        killed.iter().all(|flow| flow.again().is_ok_and(|answer| answer.instance != 8001)),
        "a killed flow goes to its instance still"
    );
    others.iter().chain(&direct).for_each(Flow::stays);
}
