//! `--wait`: commands that go on when the last connection has gone.

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::udp::Flow;
use wocut_tests::watch::Watched;

const ALL: [u16; 3] = [8001, 8002, 8003];

/// A host with a service on every instance, and connections of both families to each.
fn busy(engine: Engine) -> (Host, Vec<Daemon>, Vec<Held>) {
    let host = Host::new(engine);
    let daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003");
    let open = |family| Held::open_on_each(&host.lan.client, host.lan.at(family, SERVICE), &ALL);
    let held = Family::BOTH.into_iter().flat_map(open).collect();
    (host, daemons, held)
}

/// Those that an instance has, and the others.
fn split(held: Vec<Held>, instance: u16) -> (Vec<Held>, Vec<Held>) {
    held.into_iter().partition(|held| held.answer.instance == instance)
}

/// Starts a command that waits. It says so when it has drained what it waits for.
fn waiting(host: &Host, command: &str) -> Watched {
    let waiting = host.watch(command);
    assert!(waiting.next().contains("drain"));
    waiting
}

/// A command that waited has come to its end.
fn done(waiting: Watched) {
    let (code, _lines, messages) = waiting.end_with_messages();
    assert_eq!(code, Some(0), "{messages}");
}

/// What eBPF counts is what is waited for; rules count no ends.
fn has_active(host: &Host, instance: &str, connections: usize) {
    if host.engine == Engine::Ebpf {
        assert_eq!(host.instances("web")[instance]["active"], connections);
    }
}

engines! { drain_can_wait_for_the_last_connection: ebpf nft legacy }
fn drain_can_wait_for_the_last_connection(engine: Engine) {
    let (host, _daemons, held) = busy(engine);
    let (gone, mut others) = split(held, 8001);
    let mut drain = waiting(&host, "drain web 8001 --wait 30s");
    has_active(&host, "8001", gone.len());
    host.burst_both(100).no_failure().only(&[8002, 8003]);
    assert!(!drain.has_ended(), "a connection is still open");
    drop(gone);
    done(drain);
    has_active(&host, "8001", 0);
    others.iter_mut().for_each(Held::alive);
}

engines! { wait_for_nothing_ends_at_once: ebpf nft legacy }
fn wait_for_nothing_ends_at_once(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002 8003");
    let _direct = Held::open(&host.lan.client, host.lan.at(Family::V4, 8001));
    let drain = host.wocut("drain web 8001 --wait 1h --json").ok().json();
    assert_eq!((&drain["left"], &drain["killed"]), (&0.into(), &0.into()), "{drain}");
    host.wocut("remove web 8001 --wait 1h").ok();
    host.wocut("detach web --wait 1h").ok();
    assert!(!host.lan.server.state().exists());
    host.wocut("detach --all --wait 1h").ok();
}

engines! { drain_that_waits_in_vain_says_how_many_are_left: ebpf nft legacy }
fn drain_that_waits_in_vain_says_how_many_are_left(engine: Engine) {
    let (host, _daemons, held) = busy(engine);
    let (mut stay, mut others) = split(held, 8001);
    let left = stay.len();
    let drain = host.wocut("drain web 8001 --wait 100ms --json");
    drain.code(1).says(&format!("drained web/8001, but {left} open connection")).says("left after 100ms");
    let told = drain.json();
    assert_eq!((&told["schema"], &told["left"], &told["killed"]), (&1.into(), &left.into(), &0.into()));
    assert_eq!(host.instances("web")["8001"]["admin"], "drain");
    stay.iter_mut().chain(&mut others).for_each(Held::alive);
}

engines! { half_closed_connection_is_open: ebpf nft legacy }
fn half_closed_connection_is_open(engine: Engine) {
    let host = Host::new(engine);
    let daemon = Daemon::python(&host.lan.server, 8001);
    host.attach("web 80/tcp to 8001");
    let held = Family::BOTH.map(|family| Held::open(&host.lan.client, host.lan.at(family, SERVICE)));
    daemon.stop();
    held.iter().for_each(Held::close_half);
    host.wocut("drain web 8001 --wait 0s").code(1).says("2 open connections left");
    has_active(&host, "8001", 2);
    daemon.resume();
    host.wocut("drain web 8001 --wait 30s").ok();
}

engines! { connections_that_nobody_accepts_are_open: ebpf nft legacy }
fn connections_that_nobody_accepts_are_open(engine: Engine) {
    let host = Host::new(engine);
    let daemon = Daemon::python(&host.lan.server, 8001);
    host.attach("web 80/tcp to 8001");
    daemon.stop();
    let connect = |family| wocut_tests::held::silent(&host.lan.client, host.lan.at(family, SERVICE), 3);
    let silent = Family::BOTH.map(connect);
    host.wocut("drain web 8001 --wait 0s").code(1).says("6 open connections left");
    let killed = host.wocut("drain web 8001 --kill --json").ok().json();
    assert_eq!(killed["killed"], 6);
    drop(silent);
}

engines! { remove_can_wait_for_the_last_connection: ebpf nft legacy }
fn remove_can_wait_for_the_last_connection(engine: Engine) {
    let (host, _daemons, held) = busy(engine);
    let (gone, mut others) = split(held, 8001);
    let mut remove = waiting(&host, "remove web 8001 --wait 30s");
    has_active(&host, "8001", gone.len());
    host.burst_both(100).no_failure().only(&[8002, 8003]);
    // Nobody has to wait for it.
    host.wocut("weight web 8002 5").ok();
    assert!(!remove.has_ended(), "a connection is still open");
    drop(gone);
    done(remove);
    host.has_instances("web", &[8002, 8003]);
    others.iter_mut().for_each(Held::alive);
}

engines! { remove_that_waits_in_vain_removes_nothing: ebpf nft legacy }
fn remove_that_waits_in_vain_removes_nothing(engine: Engine) {
    let (host, _daemons, mut held) = busy(engine);
    let left = held.iter().filter(|held| held.answer.instance != 8003).count();
    host.wocut("remove web 8001 8002 --wait 50ms").code(1).says(&format!("but {left} open connections left"));
    host.has_instances("web", &ALL);
    host.burst_both(100).no_failure().only(&[8003]);
    held.iter_mut().for_each(Held::alive);
}

engines! { what_cannot_be_removed_is_not_drained: ebpf nft legacy }
fn what_cannot_be_removed_is_not_drained(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, ALL);
    host.attach("web 80/tcp to 8001 8002");
    host.wocut("remove web 8001 8002 --wait 1s").code(2).says("no instance left");
    host.wocut("remove web 8001 8009 --wait 1s").code(4);
    host.wocut("detach api --kill").code(4);
    host.burst_both(100).no_failure().only(&[8001, 8002]);
}

engines! { detach_can_wait_for_the_last_connection: ebpf nft legacy }
fn detach_can_wait_for_the_last_connection(engine: Engine) {
    let (host, _daemons, held) = busy(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    let mut detach = waiting(&host, "detach web --wait 30s");
    host.burst_both(100).no_failure().only(&[SERVICE]);
    let mut plain = Held::open(&host.lan.client, host.lan.at(Family::V4, SERVICE));
    assert!(!detach.has_ended(), "connections are still open");
    drop(held);
    done(detach);
    assert!(!host.lan.server.state().exists());
    plain.alive();
}

engines! { wait_ends_when_the_instance_is_made_ready: ebpf nft legacy }
fn wait_ends_when_the_instance_is_made_ready(engine: Engine) {
    let (host, _daemons, mut held) = busy(engine);
    let remove = waiting(&host, "remove web 8001 --wait 1h --kill");
    host.wocut("ready web 8001").ok();
    let (code, lines, messages) = remove.end_with_messages();
    assert_eq!((code, lines.len()), (Some(1), 0), "{messages}");
    assert!(messages.contains("web/8001 was made ready"), "{messages}");
    host.has_instances("web", &ALL);
    held.iter_mut().for_each(Held::alive);
}

engines! { removed_by_another_command_is_still_waited_for: ebpf nft legacy }
fn removed_by_another_command_is_still_waited_for(engine: Engine) {
    let (host, _daemons, held) = busy(engine);
    let (gone, others) = split(held, 8001);
    let mut drain = waiting(&host, "drain web 8001 --wait 30s");
    host.wocut("remove web 8001").ok();
    host.burst_both(100).no_failure().only(&[8002, 8003]);
    assert!(!drain.has_ended(), "its connections are open still");
    drop((gone, others));
    done(drain);
}

/// Interrupts a command while it waits.
fn interrupted(waiting: Watched) {
    waiting.interrupt();
    let (code, lines, messages) = waiting.end_with_messages();
    assert_eq!((code, lines.len()), (Some(130), 0), "{messages}");
    assert!(messages.contains("web/8001") && messages.contains("left drained"), "{messages}");
}

engines! { interrupted_command_goes_on_where_it_was: ebpf nft legacy }
fn interrupted_command_goes_on_where_it_was(engine: Engine) {
    let (host, _daemons, held) = busy(engine);
    for command in ["drain web 8001", "remove web 8001", "detach web"] {
        interrupted(waiting(&host, &format!("{command} --wait 1h --kill")));
        host.has_instances("web", &ALL);
        assert_eq!(host.instances("web")["8001"]["admin"], "drain");
    }
    let mut detach = waiting(&host, "detach web --wait 30s");
    let (gone, mut rest) = split(held, 8001);
    drop(gone);
    host.wocut("remove web 8001 --wait 30s").ok();
    rest.iter_mut().for_each(Held::alive);
    assert!(!detach.has_ended(), "connections are still open");
    drop(rest);
    done(detach);
    assert!(!host.lan.server.state().exists());
}

engines! { killed_command_goes_on_where_it_was: ebpf nft legacy }
fn killed_command_goes_on_where_it_was(engine: Engine) {
    let (host, _daemons, held) = busy(engine);
    let (mut gone, mut others) = split(held, 8001);
    for command in ["drain web 8001", "remove web 8001"] {
        // `kill -9`.
        drop(waiting(&host, &format!("{command} --wait 1h")));
        host.burst_both(100).no_failure().only(&[8002, 8003]);
        gone.iter_mut().for_each(Held::alive);
    }
    let removed = host.wocut("remove web 8001 --wait 50ms --kill --json").ok().json();
    assert_eq!(removed["killed"], gone.len());
    host.has_instances("web", &[8002, 8003]);
    gone.iter_mut().for_each(Held::dead);
    others.iter_mut().for_each(Held::alive);
}

engines! { flows_are_waited_for: nft legacy }
fn flows_are_waited_for(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    let at = |family| host.lan.at(family, 53);
    let open = |family| Flow::open_on_each(&host.lan.client, 10_000..10_100, at(family), &ALL);
    let flows: Vec<Flow> = Family::BOTH.into_iter().flat_map(open).collect();
    let left = flows.iter().filter(|flow| flow.answer.instance == 8001).count();
    host.wocut("drain dns 8001 --wait 50ms").code(1).says(&format!("but {left} open connection"));
    flows.iter().for_each(Flow::stays);
}
