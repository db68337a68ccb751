//! `wocut run`: a command on a port of its own, and the next one of its name, which takes its place.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use wocut_tests::commands::Commands;
use wocut_tests::container::Container;
use wocut_tests::daemon::Daemon;
use wocut_tests::emulated::times;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::figures::note;
use wocut_tests::host::{Host, words};
use wocut_tests::lan::Family;
use wocut_tests::must::{Must as _, check};
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::processes::{only_processes, processes, signal};
use wocut_tests::requests::{Ends, Name, Requests, ask};
use wocut_tests::rules::saved_rules;
use wocut_tests::tool::run;
use wocut_tests::udp::{self, Flow};
use wocut_tests::wait::wait_until;
use wocut_tests::wrapper::Wrapper;

const WEB: &str = "run web --listen 80/tcp";
const CLIENTS: u16 = 500;
const PATIENCE: Duration = Duration::from_secs(30);
const DEPLOYS: u64 = 20;
/// Seconds from one deploy to the next.
const EVERY: u64 = 1;
const SIGNALS: [Signal; 5] = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Starts a command and waits until it is the one that takes the service's new connections: it and its port.
#[track_caller]
fn deploy(host: &Host, arguments: &str, command: &[String]) -> (Wrapper, u16) {
    let before = host.ready("web");
    let mut wrapper = Wrapper::start(host, arguments, command);
    let port = serves(host, &mut wrapper, &before);
    (wrapper, port)
}

/// Waits until one instance that is none of these takes the new connections, alone. What is wanted is written down before
/// the kernel does it, and told after.
#[track_caller]
fn serves(host: &Host, wrapper: &mut Wrapper, before: &BTreeSet<u16>) -> u16 {
    wait_until("systemd is told of the new instance", Duration::from_secs(30), || {
        check(!wrapper.has_ended(), || "the wrapper has ended".to_owned());
        wrapper.notifications.has("READY=1")
    });
    wrapper.notifications.forget();
    let ready = host.ready("web");
    check(ready.len() == 1 && ready.is_disjoint(before), || format!("{ready:?} serve, after {before:?}"));
    ready.into_iter().next().must("have an instance")
}

/// Who takes a new connection.
#[track_caller]
fn who(host: &Host) -> Name {
    ask(&host.lan.client, Ends::near(&host.lan), "/", 1).remove(0)
}

/// Everything that wocut keeps and has changed.
fn kept(host: &Host) -> (String, String, BTreeSet<String>) {
    let state = fs::read_to_string(host.lan.server.state()).unwrap_or_default();
    let pins = fs::read_dir(host.lan.server.pins()).into_iter().flatten().flatten();
    let names = pins.map(|pin| pin.file_name().to_string_lossy().into_owned()).collect();
    (state, saved_rules(host), names)
}

/// Deploys by the clock and under load, whether the one before is done or not; the servers of every version finish what
/// they have begun.
fn again_and_again(engine: Engine, version: impl Fn(&Commands, u64) -> Vec<String>) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut wrappers = vec![deploy(&host, WEB, &version(&commands, 0)).0];
    let load = Requests::remote(&host.lan, CLIENTS);
    let start = Instant::now();
    for number in 1..=times(DEPLOYS) {
        let due = || start.elapsed().as_secs() >= number * EVERY;
        wait_until("the next deploy is due", Duration::from_secs(2 * EVERY), due);
        wrappers.push(Wrapper::start(&host, WEB, &version(&commands, number)));
    }
    wait_until("all have served, and one does", Duration::from_mins(1), || {
        // What the first one told has been forgotten.
        let served = wrappers.iter_mut().skip(1).all(|wrapper| wrapper.notifications.has("READY=1"));
        served && wrappers.iter_mut().map(Wrapper::has_ended).filter(|ended| !ended).count() == 1
    });
    load.go_on(u64::from(CLIENTS));
    let took = start.elapsed().as_millis();
    let sum = load.stop();
    note(format_args!(
        "{engine:?}: {} deploys in {took} ms: {} requests",
        wrappers.len() - 1,
        sum.answered()
    ));
    sum.no_failure();
    for mut wrapper in wrappers {
        if !wrapper.has_ended() {
            wrapper.signal(Signal::TERM);
        }
        assert_eq!(wrapper.end(), Some(0), "{}", wrapper.log());
    }
    only_processes(&host.lan.server, &[]);
    host.has_only(&rules);
}

engines! { node_is_deployed_every_second_and_no_request_is_lost: ebpf nft }
fn node_is_deployed_every_second_and_no_request_is_lost(engine: Engine) {
    need!(tool("node"));
    again_and_again(engine, |commands, number| commands.node(&format!("v{number}")));
}

engines! { threaded_server_is_deployed_every_second_and_no_request_is_lost: ebpf nft }
fn threaded_server_is_deployed_every_second_and_no_request_is_lost(engine: Engine) {
    again_and_again(engine, |commands, number| commands.python(&format!("v{number}")));
}

engines! { nginx_is_deployed_every_second_and_no_request_is_lost: ebpf nft }
fn nginx_is_deployed_every_second_and_no_request_is_lost(engine: Engine) {
    need!(tool("nginx"));
    again_and_again(engine, |commands, _number| commands.nginx());
}

engines! { version_that_does_not_come_up_is_stopped_and_nobody_sees_it: ebpf nft }
fn version_that_does_not_come_up_is_stopped_and_nobody_sees_it(engine: Engine) {
    let host = Host::with_firewall(engine);
    let commands = Commands::new();
    let (old, port) = deploy(&host, WEB, &commands.python("v1"));
    let left = [old.id(), who(&host).id];
    let load = Requests::remote(&host.lan, CLIENTS);
    let arguments = format!("{WEB} --check http:/healthz --ready-timeout 2s");
    for behaviour in ["crash", "deaf", "sick", "dies"] {
        let mut new = Wrapper::start(&host, &arguments, &commands.python(&format!("v2 {behaviour}")));
        assert_eq!(new.end(), Some(1), "{behaviour}");
        assert!(new.log().contains("error"), "{behaviour}: {}", new.log());
        assert!(!new.notifications.has("READY=1"), "{behaviour}");
        only_processes(&host.lan.server, &left);
        host.has_instances("web", &[port]);
        load.go_on(u64::from(CLIENTS));
    }
    let sum = load.stop();
    assert_eq!(sum.no_failure().ports(), [port]);
}

engines! { clients_of_this_host_and_others_see_no_deploy: ebpf nft }
fn clients_of_this_host_and_others_see_no_deploy(engine: Engine) {
    let host = Host::with_firewall(engine);
    let commands = Commands::new();
    let mut running = vec![deploy(&host, WEB, &commands.python("v0")).0];
    let remote = Requests::remote(&host.lan, 32);
    let local = Requests::start(&host.lan.server, &Ends::loopback(32));
    for (number, check) in ["--check tcp", "--check http:/healthz", "--policy least-conn"].iter().enumerate()
    {
        // Rules have no such pick.
        let check = if engine.is_ebpf() || !check.contains("least") { check } else { "--policy round-robin" };
        let (next, _) = deploy(&host, &format!("{WEB} {check}"), &commands.python(&format!("v{number}")));
        assert_eq!(running.remove(0).end(), Some(0));
        running.push(next);
        local.go_on(100);
        remote.go_on(100);
    }
    local.stop().no_failure();
    remote.stop().no_failure();
}

engines! { port_is_told_in_the_environment_and_the_arguments: ebpf nft }
fn port_is_told_in_the_environment_and_the_arguments(engine: Engine) {
    let host = Host::new(engine);
    let commands = Commands::new();
    let (_first, port) = deploy(&host, WEB, &commands.python("v{port}"));
    assert!((40400..=40499).contains(&port), "{port}");
    let name = who(&host);
    assert_eq!((name.port, name.version), (port, format!("v{port}")));
    let (_second, port) = deploy(&host, &format!("{WEB} --ports 5000-5001"), &commands.python("v2"));
    assert!((5000..=5001).contains(&port), "{port}");
    assert_eq!(who(&host).port, port);
}

engines! { old_instance_has_the_time_its_connections_need: ebpf nft }
fn old_instance_has_the_time_its_connections_need(engine: Engine) {
    let host = Host::with_firewall(engine);
    let commands = Commands::new();
    let (mut old, _) = deploy(&host, WEB, &commands.python("v1"));
    let begun = Ends::near(&host.lan).begin(&host.lan.client);
    let (_new, port) = deploy(&host, WEB, &commands.python("v2"));
    let names = ask(&host.lan.client, Ends::near(&host.lan), "/", 50);
    assert!(names.iter().all(|name| name.port == port), "{names:?}");
    assert!(!old.has_ended(), "a request is still open");
    let name = begun.name.clone();
    assert_eq!(begun.finish().must("have a request answered"), name);
    assert_eq!(old.end(), Some(0), "{}", old.log());
    wait_until("the old one is no instance", Duration::from_secs(5), || host.instances("web").len() == 1);
}

engines! { client_whose_handshake_loses_a_packet_gets_its_answer: ebpf nft }
fn client_whose_handshake_loses_a_packet_gets_its_answer(engine: Engine) {
    let host = Host::with_firewall(engine);
    let commands = Commands::new();
    let (mut old, _) = deploy(&host, WEB, &commands.python("v1"));
    let lose = |verb: &str| {
        let rule = format!("{verb} INPUT -p tcp --sport 80 --tcp-flags SYN,ACK SYN,ACK -j DROP");
        run(host.lan.client.command("iptables").args(words(&rule)));
    };
    lose("-A");
    let _new = thread::scope(|scope| {
        let answer = scope.spawn(|| host.lan.client.run(|| Ends::near(&host.lan).get("/")));
        wait_until("a handshake has begun", PATIENCE, || {
            !run(host.lan.server.command("ss").args(["-tnH", "state", "syn-recv"])).is_empty()
        });
        let (new, _) = deploy(&host, WEB, &commands.python("v2"));
        let switched = Instant::now();
        // The server says it again after a second, and after three.
        wait_until("two seconds are over", PATIENCE, || switched.elapsed() > Duration::from_secs(2));
        assert!(!old.has_ended(), "a handshake is under way");
        lose("-D");
        let answer = answer.join().must("join the client");
        assert!(answer.as_ref().is_ok_and(|body| body.contains("v1")), "{answer:?}");
        new
    });
    assert_eq!(old.end(), Some(0), "{}", old.log());
}

engines! { old_instance_that_does_not_end_is_killed_when_its_time_is_over: ebpf nft }
fn old_instance_that_does_not_end_is_killed_when_its_time_is_over(engine: Engine) {
    let host = Host::with_firewall(engine);
    let commands = Commands::new();
    let arguments = format!("{WEB} --grace 300ms --kill-after 300ms");
    let (mut old, _) = deploy(&host, &arguments, &commands.python("v1 rude"));
    let begun = Ends::near(&host.lan).begin(&host.lan.client);
    let (new, _) = deploy(&host, &arguments, &commands.python("v2"));
    assert_eq!(old.end(), Some(128 + Signal::KILL.as_raw()), "{}", old.log());
    assert!(begun.finish().is_err());
    only_processes(&host.lan.server, &[new.id(), who(&host).id]);
}

engines! { code_of_the_command_is_returned: ebpf nft }
fn code_of_the_command_is_returned(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    for code in [0, 7] {
        let (mut wrapper, _) = deploy(&host, WEB, &commands.python("v1"));
        ask(&host.lan.client, Ends::near(&host.lan), &format!("/exit/{code}"), 1);
        assert_eq!(wrapper.end(), Some(code), "{}", wrapper.log());
        host.has_only(&rules);
    }
}

engines! { signals_are_passed_on: ebpf nft }
fn signals_are_passed_on(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    for (behaviour, code) in [("codes", 64), ("defaults", 128)] {
        for one in SIGNALS {
            let (mut wrapper, _) = deploy(&host, WEB, &commands.python(&format!("v1 {behaviour}")));
            wrapper.signal(one);
            assert_eq!(wrapper.end(), Some(code + one.as_raw()), "{one:?}: {}", wrapper.log());
            host.has_only(&rules);
        }
    }
    only_processes(&host.lan.server, &[]);
}

engines! { hang_up_starts_the_next_generation: ebpf nft }
fn hang_up_starts_the_next_generation(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let (mut wrapper, mut port) = deploy(&host, WEB, &commands.python("v1"));
    let load = Requests::remote(&host.lan, 32);
    for _ in 0..3 {
        wrapper.signal(Signal::HUP);
        wait_until("systemd is told", PATIENCE, || wrapper.notifications.has("RELOADING=1"));
        let is_clock = |told: &String| told.starts_with("MONOTONIC_USEC=");
        assert!(wrapper.notifications.told().iter().any(is_clock));
        port = serves(&host, &mut wrapper, &BTreeSet::from([port]));
        only_processes(&host.lan.server, &[wrapper.id(), who(&host).id]);
        load.go_on(100);
    }
    load.stop().no_failure();
    wrapper.signal(Signal::TERM);
    assert_eq!(wrapper.end(), Some(0), "{}", wrapper.log());
    assert!(wrapper.notifications.has("STOPPING=1"));
    host.has_only(&rules);
}

engines! { command_outlives_its_wrapper_until_the_next_one_takes_over: ebpf nft }
fn command_outlives_its_wrapper_until_the_next_one_takes_over(engine: Engine) {
    let host = Host::with_firewall(engine);
    let commands = Commands::new();
    let (mut first, _) = deploy(&host, WEB, &commands.python("v1"));
    let load = Requests::remote(&host.lan, 32);
    let orphan = who(&host).id;
    first.kill();
    load.go_on(500);
    assert_eq!(processes(&host.lan.server).into_keys().collect::<Vec<_>>(), [orphan]);
    let (second, port) = deploy(&host, WEB, &commands.python("v2"));
    only_processes(&host.lan.server, &[second.id(), who(&host).id]);
    load.go_on(100);
    load.stop().no_failure();
    host.has_instances("web", &[port]);
}

engines! { killed_command_is_out_of_the_set_at_once: ebpf nft }
fn killed_command_is_out_of_the_set_at_once(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let (mut old, port) = deploy(&host, WEB, &commands.python("v1"));
    let begun = Ends::near(&host.lan).begin(&host.lan.client);
    let (mut new, killed) = deploy(&host, WEB, &commands.python("v2"));
    host.has_instances("web", &[port, killed]);
    signal(who(&host).id, Signal::KILL);
    wait_until("the killed one is out", Duration::from_secs(1), || !host.ready("web").contains(&killed));
    wait_until("it is no instance", Duration::from_secs(1), || host.instances("web").len() == 1);
    host.has_instances("web", &[port]);
    // Its wrapper has the old one end in good order.
    begun.finish().must("have a request answered");
    assert_eq!(old.end(), Some(0), "{}", old.log());
    assert_eq!(new.end(), Some(128 + Signal::KILL.as_raw()), "{}", new.log());
    host.has_only(&rules);
}

engines! { release_ends_the_last_one_and_detaches: ebpf nft }
fn release_ends_the_last_one_and_detaches(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    for is_orphan in [false, true] {
        let (mut wrapper, _) = deploy(&host, WEB, &commands.python("v1"));
        if is_orphan {
            wrapper.kill();
        }
        host.wocut("run --release web").ok();
        assert!(is_orphan || wrapper.end() == Some(0), "{}", wrapper.log());
        only_processes(&host.lan.server, &[]);
        host.has_only(&rules);
    }
}

engines! { deploys_need_no_more_capabilities_than_a_container_has: nft legacy }
fn deploys_need_no_more_capabilities_than_a_container_has(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    // Without the first three there is no program, and no event that tells who listens.
    let container = ["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin,-sys_ptrace,-sys_resource"];
    let mut first = Wrapper::under(&host, &container, WEB, &commands.python("v1"));
    serves(&host, &mut first, &BTreeSet::new());
    let load = Requests::remote(&host.lan, 32);
    let mut second = Wrapper::under(&host, &container, WEB, &commands.python("v2"));
    wait_until("the second one serves", Duration::from_secs(10), || second.notifications.has("READY=1"));
    assert_eq!(first.end(), Some(0), "{}", first.log());
    load.go_on(100);
    load.stop().no_failure();
    assert_eq!(who(&host).version, "v2");
    second.signal(Signal::TERM);
    assert_eq!(second.end(), Some(0), "{}", second.log());
    host.has_only(&rules);
}

engines! { processes_of_a_container_are_held_by_its_own_numbers: ebpf nft }
fn processes_of_a_container_are_held_by_its_own_numbers(engine: Engine) {
    need!(tool("unshare"));
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let container = Container::new(&host.lan.server);
    let start = |container: &Container, version: &str| {
        let before = host.ready("web");
        let mut wrapper = Wrapper::under(&host, &container.within(engine), WEB, &commands.python(version));
        let port = serves(&host, &mut wrapper, &before);
        (wrapper, port)
    };
    let (mut first, _) = start(&container, "v1");
    let load = Requests::remote(&host.lan, 32);
    first.kill_within(&host);
    load.go_on(100);
    assert_eq!(who(&host).version, "v1");
    let (second, _) = start(&container, "v2");
    wait_until("the one whose wrapper was killed has ended", PATIENCE, || {
        processes(&host.lan.server).values().all(|line| !line.contains("v1"))
    });
    load.go_on(100);
    load.stop().no_failure();
    assert_eq!(who(&host).version, "v2");
    // The next container begins with the same numbers, which are not those of its processes.
    drop(container);
    only_processes(&host.lan.server, &[]);
    drop(second);
    let container = Container::new(&host.lan.server);
    let (mut third, port) = start(&container, "v3");
    host.has_instances("web", &[port]);
    assert_eq!(who(&host).version, "v3");
    host.wocut_under(&container.within(engine), &["run", "--release", "web"]).ok();
    assert_eq!(third.end(), Some(0), "{}", third.log());
    host.has_only(&rules);
}

engines! { what_cannot_be_run_is_refused_and_changes_nothing: ebpf nft }
fn what_cannot_be_run_is_refused_and_changes_nothing(engine: Engine) {
    let host = Host::with_firewall(engine);
    let commands = Commands::new();
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 40400, 40401]);
    host.attach("api 81/tcp to 8001");
    let before = (kept(&host), processes(&host.lan.server));
    let server = commands.python("v1");
    let text = commands.path().join("web.py").display().to_string();
    let (absent, text) = (["/absent/server".to_owned()], [text]);
    let cases: [(&str, &[String], &[i32], &str); 11] = [
        ("web --listen 80/tcp --ports 40400-40401", &server, &[1], "40400-40401"),
        ("web --listen 80/tcp", &absent, &[1, 127], "/absent/server"),
        ("web --listen 80/tcp", &text, &[1, 126], "web.py"),
        ("web --listen 80/tcp", &[], &[2], ""),
        ("api --listen 81/tcp", &server, &[5], "api"),
        ("web --listen 81/tcp", &server, &[5], "81/tcp"),
        ("web --listen 80/tcp --ports 40499-40400", &server, &[2], "40499-40400"),
        ("web --listen 80/tcp --ports 40400-70000", &server, &[2], "40400-70000"),
        ("web --listen 80/tcp --ports 0-10", &server, &[2], "0-10"),
        ("web --listen 80/tcp --ports some", &server, &[2], "some"),
        ("web --listen 80/tcp --check fine", &server, &[2], "fine"),
    ];
    for (arguments, command, codes, words) in cases {
        let mut wrapper = Wrapper::start(&host, &format!("run {arguments}"), command);
        let code = wrapper.end();
        let log = wrapper.log();
        assert!(codes.iter().any(|one| code == Some(*one)), "{arguments}: {code:?}: {log}");
        assert!(log.contains("error") && log.contains(words), "{arguments}: {log}");
        assert_eq!((kept(&host), processes(&host.lan.server)), before, "{arguments}: {log}");
    }
}

engines! { service_for_datagrams_is_deployed: ebpf nft }
fn service_for_datagrams_is_deployed(engine: Engine) {
    let host = Host::with_firewall(engine);
    let commands = Commands::new();
    let arguments = "run web --listen 53/udp --grace 5s";
    let (mut old, first) = deploy(&host, arguments, &commands.echo());
    let flow = Flow::open(&host.lan.client, 9000, host.lan.at(Family::V4, 53));
    assert_eq!(flow.answer.instance, first);
    let stop = AtomicBool::new(false);
    let (new, second) = thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let ports = (10_000..60_000).step_by(20).take_while(|_| !stop.load(Ordering::Relaxed));
            for port in ports {
                udp::burst(&host.lan.client, port..port + 20, host.lan.at(Family::V6, 53)).no_failure();
            }
        });
        let new = deploy(&host, arguments, &commands.echo());
        flow.stays();
        assert_eq!(old.end(), Some(128 + Signal::TERM.as_raw()), "{}", old.log());
        stop.store(true, Ordering::Relaxed);
        clients.join().must("join the clients");
        new
    });
    let tally = udp::burst(&host.lan.client, 10_000..10_100, host.lan.at(Family::V4, 53));
    tally.no_failure().only(&[second]);
    assert_eq!(processes(&host.lan.server).len(), 2);
    host.has_instances("web", &[second]);
    drop(new);
}

/// How often a process has gone to sleep.
fn sleeps(id: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

engines! { nobody_looks_for_a_socket_that_is_not_there_yet: ebpf nft }
fn nobody_looks_for_a_socket_that_is_not_there_yet(engine: Engine) {
    let host = Host::new(engine);
    let commands = Commands::new();
    for (listen, command) in [("80/tcp", commands.python("v1")), ("53/udp", commands.echo())] {
        let script = format!("sleep 1.5; exec {}", command.join(" "));
        let arguments = format!("run web --listen {listen}");
        let mut wrapper = Wrapper::start(&host, &arguments, &["sh", "-c", &script].map(str::to_owned));
        let waits = || processes(&host.lan.server).values().any(|line| line.starts_with("sleep 1.5"));
        wait_until("it waits", PATIENCE, waits);
        let before = sleeps(wrapper.id()).must("look at the wrapper");
        wait_until("it waits no longer", PATIENCE, || !waits());
        let slept = sleeps(wrapper.id()).must("look at the wrapper") - before;
        let since = Instant::now();
        serves(&host, &mut wrapper, &BTreeSet::new());
        note(format_args!("{engine:?}: {listen}: {slept} times, serves after {:?}", since.elapsed()));
        assert!(slept < 30, "{slept}");
        host.wocut("run --release web").ok();
    }
}

engines! { what_a_shell_has_started_ends_with_it: ebpf }
fn what_a_shell_has_started_ends_with_it(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let shell = ["sh", "-c", &format!("{} & wait", commands.python("v1").join(" "))].map(str::to_owned);
    let (mut wrapper, _) = deploy(&host, WEB, &shell);
    let lines = processes(&host.lan.server);
    let (id, _) = lines.iter().find(|(_, line)| line.starts_with("sh ")).must("find the shell");
    signal(*id, Signal::KILL);
    assert_eq!(wrapper.end(), Some(128 + Signal::KILL.as_raw()), "{}", wrapper.log());
    only_processes(&host.lan.server, &[]);
    host.has_only(&rules);
}

engines! { command_whose_wrapper_is_killed_before_it_serves_is_ended_by_the_next_one: ebpf nft }
fn command_whose_wrapper_is_killed_before_it_serves_is_ended_by_the_next_one(engine: Engine) {
    let host = Host::new(engine);
    let commands = Commands::new();
    let mut killed = Wrapper::start(&host, WEB, &commands.python("v1 deaf"));
    // It is noted before: one that is not yet let go ends with its wrapper.
    wait_until("the command runs", Duration::from_secs(10), || {
        let lines = processes(&host.lan.server);
        lines.values().any(|line| line.contains("deaf") && !line.contains("--listen"))
    });
    killed.kill();
    assert_eq!(processes(&host.lan.server).len(), 1);
    let (mut next, _) = deploy(&host, WEB, &commands.python("v2"));
    only_processes(&host.lan.server, &[next.id(), who(&host).id]);
    next.signal(Signal::TERM);
    assert_eq!(next.end(), Some(0), "{}", next.log());
    only_processes(&host.lan.server, &[]);
}

engines! { all_of_a_shell_whose_wrapper_is_killed_before_it_serves_is_ended_by_the_next_one: ebpf nft }
fn all_of_a_shell_whose_wrapper_is_killed_before_it_serves_is_ended_by_the_next_one(engine: Engine) {
    let host = Host::new(engine);
    let commands = Commands::new();
    let server = commands.python("v1 deaf").join(" ");
    let shell = ["sh", "-c", &format!("{server} & wait")].map(str::to_owned);
    let mut killed = Wrapper::start(&host, WEB, &shell);
    wait_until("the shell and the server run", Duration::from_secs(10), || {
        let lines = processes(&host.lan.server);
        lines.values().filter(|line| line.contains("deaf") && !line.contains("--listen")).count() == 2
    });
    killed.kill();
    assert_eq!(processes(&host.lan.server).len(), 2);
    let (next, _) = deploy(&host, WEB, &commands.python("v2"));
    only_processes(&host.lan.server, &[next.id(), who(&host).id]);
}

engines! { killed_command_is_taken_out_as_soon_as_the_rules_can_be_changed: legacy }
fn killed_command_is_taken_out_as_soon_as_the_rules_can_be_changed(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let (mut wrapper, _) = deploy(&host, WEB, &commands.python("v1"));
    let id = who(&host).id;
    // As somebody has it who changes rules, and takes longer than iptables waits.
    let lock = fs::File::create("/run/xtables.lock").must("open the lock of iptables");
    flock(&lock, FlockOperation::LockExclusive).must("take the lock of iptables");
    signal(id, Signal::KILL);
    wait_until("the wrapper says so", Duration::from_secs(30), || {
        wrapper.log().contains("still an instance")
    });
    assert!(!wrapper.has_ended());
    drop(lock);
    assert_eq!(wrapper.end(), Some(128 + Signal::KILL.as_raw()), "{}", wrapper.log());
    host.has_only(&rules);
}

engines! { server_that_listens_early_serves_when_it_says_that_it_is_ready: ebpf nft }
fn server_that_listens_early_serves_when_it_says_that_it_is_ready(engine: Engine) {
    let host = Host::with_firewall(engine);
    let commands = Commands::new();
    let arguments = format!("{WEB} --notify-ready --ready-timeout 10s");
    let (mut old, _) = deploy(&host, WEB, &commands.python("v1"));
    let load = Requests::remote(&host.lan, 32);
    let start = Instant::now();
    // It answers nobody well before.
    let (new, port) = deploy(&host, &arguments, &commands.python("v2 late"));
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(old.end(), Some(0), "{}", old.log());
    let silent = format!("{WEB} --notify-ready --ready-timeout 2s");
    let mut silent = Wrapper::start(&host, &silent, &commands.python("v3"));
    assert_eq!(silent.end(), Some(1), "{}", silent.log());
    assert!(silent.log().contains("READY=1"), "{}", silent.log());
    host.has_instances("web", &[port]);
    only_processes(&host.lan.server, &[new.id(), who(&host).id]);
    load.go_on(100);
    load.stop().no_failure();
}

engines! { systemd_is_told_when_the_instance_serves: ebpf nft }
fn systemd_is_told_when_the_instance_serves(engine: Engine) {
    let host = Host::new(engine);
    let commands = Commands::new();
    let arguments = format!("{WEB} --check http:/healthz");
    for behaviour in ["", "notify"] {
        let before = host.ready("web");
        let mut wrapper = Wrapper::start(&host, &arguments, &commands.python(&format!("v1 {behaviour}")));
        wait_until("systemd is told", Duration::from_secs(10), || wrapper.notifications.has("READY=1"));
        let ready = host.ready("web");
        assert!(ready.len() == 1 && ready.is_disjoint(&before), "{ready:?}, {before:?}");
        let is_told = |told: &String| told.starts_with("STATUS=") && told.contains("v1 listens");
        if behaviour == "notify" {
            wait_until("the command's words are passed on", Duration::from_secs(5), || {
                wrapper.notifications.told().iter().any(is_told)
            });
        }
        wrapper.signal(Signal::TERM);
        assert_eq!(wrapper.end(), Some(0), "{}", wrapper.log());
    }
}
