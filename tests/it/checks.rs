//! Checks of instances: who goes out and comes back, how fast, and what it costs.

use std::fs;
use std::time::{Duration, Instant};

use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::emulated::{limit, times};
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::figures::note;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::Load;
use wocut_tests::must::Must as _;
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::serve::{Serve, web};
use wocut_tests::wait::wait_until;

#[track_caller]
fn has_health(host: &Host, instance: &str, health: &str) {
    wait_until(&format!("{instance} is {health}"), limit(Duration::from_secs(5)), || {
        host.instances("web")[instance]["health"] == health
    });
}

/// Waits until the daemon has told so often of that: then the kernel has it too.
#[track_caller]
fn is_told(serve: &Serve, instance: &str, health: &str, times: usize) {
    let words = format!("instance={instance} health={health}");
    wait_until(&words, limit(Duration::from_secs(5)), || serve.log().matches(&words).count() >= times);
}

/// A check of which one answer decides.
fn connects() -> String {
    let interval = limit(Duration::from_millis(200)).as_millis();
    format!("{{ type = \"tcp\", interval = \"{interval}ms\", rise = 1, fall = 1 }}")
}

/// So many connections, whatever this machine makes of them in a minute.
#[track_caller]
fn go_on(load: &Load, connections: u64) {
    (0..10).for_each(|_| load.go_on(times(connections / 10)));
}

engines! { sick_instance_goes_out_and_comes_back_and_no_request_fails: ebpf tc nft }
fn sick_instance_goes_out_and_comes_back_and_no_request_fails(engine: Engine) {
    need!(tool("nginx"));
    let host = Host::with_firewall(engine);
    let daemons = [8001, 8002, 8003].map(|port| Daemon::nginx(&host.lan.server, port));
    let check = "check = { type = \"http\", path = \"/health\", interval = \"100ms\", timeout = \"100ms\", rise = 2, fall = 3 }";
    let mut serve = Serve::start(&host, &(web(&host, "8001, 8002, 8003") + check), "");
    has_health(&host, "8001", "up");
    has_health(&host, "8002", "up");
    let load = host.load(4);
    fs::write(daemons[0].file("html/sick"), "").must("make an instance sick");
    // What is wanted is written down before the kernel does it, and told after.
    is_told(&serve, "8001", "down", 1);
    serve.says("answered 500");
    // On the tc hook a client's port that comes again waits for 10 ms.
    let many = if engine == Engine::Tc { 5_000 } else { 25_000 };
    go_on(&load, many);
    host.burst_both(200).no_failure().only(&[8002, 8003]);

    // What was found out is there still, and moves nothing.
    serve.kill();
    host.burst_both(200).no_failure().only(&[8002, 8003]);
    serve.again(&host, "");
    assert_eq!(host.instances("web")["8001"]["health"], "down");
    host.burst_both(200).no_failure().only(&[8002, 8003]);

    fs::remove_file(daemons[0].file("html/sick")).must("make it well again");
    is_told(&serve, "8001", "up", 1);
    host.burst_both(200).no_failure().only(&[8001, 8002, 8003]);
    go_on(&load, many);
    load.stop().no_failure();
}

engines! { flapping_instance_stays_as_it_is: ebpf nft }
fn flapping_instance_stays_as_it_is(engine: Engine) {
    need!(tool("nginx"));
    let host = Host::with_firewall(engine);
    let daemons = [8001, 8002].map(|port| Daemon::nginx(&host.lan.server, port));
    let interval = limit(Duration::from_millis(300)).as_millis();
    let check =
        format!("check = {{ type = \"http\", path = \"/health\", interval = \"{interval}ms\", fall = 3 }}");
    let serve = Serve::start(&host, &(web(&host, "8001, 8002") + &check), "");
    has_health(&host, "8001", "up");
    let checks = |field: &str| serve.ask("GET", "/web/8001", "").is(200).json()[field].as_u64();
    let wait_for = |field: &str| {
        let before = checks(field);
        wait_until(field, limit(Duration::from_secs(2)), || checks(field) > before);
    };
    for _ in 0..5 {
        fs::write(daemons[0].file("html/sick"), "").must("make an instance sick");
        wait_for("check_fail");
        fs::remove_file(daemons[0].file("html/sick")).must("make it well again");
        wait_for("check_success");
    }
    assert!(!serve.log().contains("instance=8001 health=down"), "{}", serve.log());
    host.burst_both(100).no_failure().only(&[8001, 8002]);
}

engines! { backup_takes_connections_while_nobody_else_can: ebpf tc nft }
fn backup_takes_connections_while_nobody_else_can(engine: Engine) {
    let host = Host::with_firewall(engine);
    let backup = Daemon::python(&host.lan.server, 8003);
    let daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let check = format!("check = {}", connects());
    let instances = "8001, 8002, { port = 8003, backup = true }";
    let serve = Serve::start(&host, &(web(&host, instances) + &check), "");
    for instance in ["8001", "8002", "8003"] {
        is_told(&serve, instance, "up", 1);
    }
    host.burst_both(200).no_failure().only(&[8001, 8002]);
    daemons.into_iter().for_each(Daemon::kill);
    is_told(&serve, "8001", "down", 1);
    is_told(&serve, "8002", "down", 1);
    host.burst_both(100).no_failure().only(&[8003]);
    let again = Daemon::python(&host.lan.server, 8002);
    is_told(&serve, "8002", "up", 2);
    host.burst_both(100).no_failure().only(&[8002]);
    backup.kill();
    again.kill();
    serve.says("no instance is left");
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    host.burst_both(100).no_failure().only(&[SERVICE]);
}

engines! { who_comes_up_has_its_share_by_and_by: ebpf nft }
fn who_comes_up_has_its_share_by_and_by(engine: Engine) {
    let host = Host::with_firewall(engine);
    let mut daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let keys = format!("slow_start = \"8s\"\ncheck = {}", connects());
    let mut serve = Serve::start(&host, &(web(&host, "8001, 8002") + &keys), "");
    has_health(&host, "8001", "up");
    has_health(&host, "8002", "up");
    host.burst_both(200).no_failure().only(&[8001, 8002]);
    daemons.remove(0).kill();
    has_health(&host, "8001", "down");
    let _again = Daemon::python(&host.lan.server, 8001);
    has_health(&host, "8001", "up");
    let start = Instant::now();
    serve.says("web/8001 has 20 % of its weight");
    let tally = host.burst_both(200);
    let throttle = || host.instances("web")["8001"]["throttle"].as_u64();
    let part = throttle().must("start slowly");
    assert!(part < 100 && tally.no_failure().by(8001) < 100, "{part} %: {:?}", tally.answers);
    // The next daemon goes on from there.
    serve.kill();
    serve.again(&host, "");
    assert!(throttle() >= Some(part));
    serve.says_within("web/8001 has 100 % of its weight", Duration::from_secs(20));
    let took = start.elapsed();
    assert!(took > Duration::from_secs(4), "{took:?}");
    assert_eq!(throttle(), None);
    assert!(host.instances("web")["8001"]["share"] == 0.5);
}

engines! { what_the_kernel_sees_counts_at_once: ebpf tc }
fn what_the_kernel_sees_counts_at_once(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    // No check is made in the time of the test, unless something was seen.
    let check = "check = { type = \"tcp\", interval = \"1h\", initial = \"up\", rise = 1, fall = 3 }";
    let serve = Serve::start(&host, &(web(&host, "8001, 8002, 8003") + check), "");
    has_health(&host, "8001", "up");
    let load = host.load(4);
    daemons.remove(0).kill();
    has_health(&host, "8001", "down");
    serve.says("found nobody listening");
    let _again = Daemon::python(&host.lan.server, 8001);
    has_health(&host, "8001", "up");
    serve.says("it listens");
    load.go_on(100);
    load.stop().no_failed_connect();
}

// Regression: a client of IPv6 found nobody listening, three times, and IPv4 clients had no instance any more.
engines! { client_of_the_other_family_takes_nobody_out: ebpf }
fn client_of_the_other_family_takes_nobody_out(engine: Engine) {
    let host = Host::new(engine);
    let listen = |port| Listen { address: "0.0.0.0", ..Listen::on(port) };
    let _daemons = [8001, 8002].map(|port| Daemon::python_with(&host.lan.server, listen(port)));
    let check = "check = { type = \"tcp\", interval = \"1h\", initial = \"up\", fall = 1 }";
    let serve = Serve::start(&host, &(web(&host, "8001, 8002") + check), "");
    has_health(&host, "8001", "up");
    let refused = host.burst(Family::V6, 50);
    assert_eq!(refused.answered_total(), 0);
    serve.says("found nobody listening");
    host.burst(Family::V4, 100).no_failure().only(&[8001, 8002]);
    assert!(!serve.log().contains("health=down"), "{}", serve.log());
}

engines! { many_checks_cost_little: ebpf }
fn many_checks_cost_little(engine: Engine) {
    const CHECKS: u16 = 200;
    const LENGTH: Duration = Duration::from_secs(5);
    let host = Host::new(engine);
    let _daemon = Daemon::python(&host.lan.server, 8001);
    let ports: Vec<String> = (10_001..=10_000 + CHECKS).map(|port| format!("{{ port = {port} }}")).collect();
    let check = "check = { type = \"tcp\", port = 8001, interval = \"1s\" }";
    let serve = Serve::start(&host, &(web(&host, &ports.join(", ")) + check), "");
    wait_until("all are up", Duration::from_secs(10), || {
        host.instances("web").values().all(|instance| instance["health"] == "up")
    });
    let (start, before) = (Instant::now(), serve.processor_time());
    wait_until("the time is over", Duration::from_secs(10), || start.elapsed() > LENGTH);
    let took = serve.processor_time().saturating_sub(before);
    let part = took.as_secs_f64() / start.elapsed().as_secs_f64();
    note(format_args!("{CHECKS} checks a second take {:.1} % of a processor", part * 100.0));
    assert!(part < 0.05, "{part}");
}
