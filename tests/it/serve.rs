//! The daemon: files, checks, and what others do to the kernel.

use std::fs;
use std::time::{Duration, Instant};

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::figures::note;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::Load;
use wocut_tests::must::Must as _;
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::serve::Serve;
use wocut_tests::tool::run;
use wocut_tests::wait::wait_until;

/// A service on the engine of a test.
fn service(host: &Host, name: &str, keys: &str) -> String {
    format!("[service.{name}]\n{}{keys}\n", host.engine.keys())
}

fn web(host: &Host, instances: &str) -> String {
    service(host, "web", &format!("listen = [\"80/tcp\"]\ninstances = [{instances}]"))
}

fn load(host: &Host) -> Load {
    Load::start(&host.lan.client, &Family::BOTH.map(|family| host.lan.at(family, SERVICE)), 4)
}

engines! { reload_is_all_or_nothing_and_leaves_what_came_another_way: ebpf nft }
fn reload_is_all_or_nothing_and_leaves_what_came_another_way(engine: Engine) {
    let host = Host::with_firewall(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8004);
    let api = service(&host, "api", "listen = [\"81/tcp\"]\ninstances = [8003]");
    let mut serve = Serve::start(&host, &(web(&host, "8001") + &api), "");
    host.burst_both(100).no_failure().only(&[8001]);
    host.attach("own 82/tcp to 8004");

    serve.write(&web(&host, "8001, 8002"));
    serve.hang_up();
    serve.says("added 8002");
    serve.says("api: detached");
    host.burst_both(100).no_failure().only(&[8001, 8002]);
    host.has_instances("own", &[8004]);

    serve.write(&(web(&host, "8003") + "[service.bad]\nlissten = 1\n"));
    serve.hang_up();
    serve.says("unknown key `lissten`");
    host.has_instances("web", &[8001, 8002]);

    assert_eq!(serve.terminate(), Some(0));
    host.burst_both(100).no_failure().only(&[8001, 8002]);
}

engines! { what_others_take_away_is_back_within_two_seconds: ebpf tc nft legacy }
fn what_others_take_away_is_back_within_two_seconds(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let serve = Serve::start(&host, &web(&host, "8001, 8002"), "");
    host.burst_both(100).no_failure();
    let harm: &[fn(&Host)] = match engine {
        Engine::Ebpf => &[unpin_all, |host| unpin(host, "lookup_link"), detach_link],
        Engine::Tc => &[unpin_all, |host| unpin(host, "wocut_ingress")],
        Engine::Nft | Engine::Legacy => &[|host| flush(host, "nat"), |host| flush(host, "mangle")],
    };
    for harm in harm {
        let repairs = || serve.log().matches("repaired").count();
        let before = repairs();
        harm(&host);
        let start = Instant::now();
        wait_until("it is repaired", Duration::from_secs(2), || repairs() > before);
        note(format_args!("{engine:?}: repaired after {} ms", start.elapsed().as_millis()));
        host.burst_both(100).no_failure().only(&[8001, 8002]);
    }
}

fn unpin_all(host: &Host) {
    fs::remove_dir_all(host.lan.server.pins()).must("remove all pins");
}

/// Removes a pin, or those of one program on every interface.
fn unpin(host: &Host, name: &str) {
    for entry in fs::read_dir(host.lan.server.pins()).must("list pins").flatten() {
        if entry.file_name().to_string_lossy().starts_with(name) {
            fs::remove_file(entry.path()).must("remove a pin");
        }
    }
}

fn detach_link(host: &Host) {
    let pin = host.lan.server.pins().join("lookup_link");
    run(std::process::Command::new("bpftool").args(["link", "detach", "pinned"]).arg(pin));
}

fn flush(host: &Host, table: &str) {
    for program in ["iptables", "ip6tables"] {
        run(host.tool(program).args(["-w", "-t", table, "-F"]));
    }
}

engines! { sick_instance_goes_out_and_comes_back_and_no_request_fails: ebpf tc nft }
fn sick_instance_goes_out_and_comes_back_and_no_request_fails(engine: Engine) {
    need!(tool("nginx"));
    let host = Host::with_firewall(engine);
    let daemons = [8001, 8002, 8003].map(|port| Daemon::nginx(&host.lan.server, port));
    let check = "check = { type = \"http\", path = \"/health\", interval = \"100ms\", timeout = \"100ms\", rise = 2, fall = 3 }";
    let mut serve = Serve::start(&host, &(web(&host, "8001, 8002, 8003") + check), "");
    let health =
        |port: &str| host.instances("web")[port]["health"].as_str().must("read the health").to_owned();
    let has = |port: &str, wanted: &str| {
        wait_until(&format!("{port} is {wanted}"), Duration::from_secs(5), || health(port) == wanted);
    };
    has("8001", "up");
    has("8002", "up");
    let load = load(&host);
    fs::write(daemons[0].file("html/sick"), "").must("make an instance sick");
    // What is wanted is written down before the kernel does it, and told after.
    serve.says("answered 500");
    has("8001", "down");
    host.burst_both(200).no_failure().only(&[8002, 8003]);

    // What was found out is there still, and moves nothing.
    serve.kill();
    host.burst_both(200).no_failure().only(&[8002, 8003]);
    serve.again(&host, "");
    assert_eq!(health("8001"), "down");
    host.burst_both(200).no_failure().only(&[8002, 8003]);

    fs::remove_file(daemons[0].file("html/sick")).must("make it well again");
    serve.says("it answers");
    has("8001", "up");
    host.burst_both(200).no_failure().only(&[8001, 8002, 8003]);
    load.stop().no_failure();
}

engines! { what_the_kernel_sees_counts_at_once: ebpf tc }
fn what_the_kernel_sees_counts_at_once(engine: Engine) {
    let host = Host::new(engine);
    let mut daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    // No check is made in the time of the test, unless something was seen.
    let check = "check = { type = \"tcp\", interval = \"1h\", initial = \"up\", rise = 1, fall = 3 }";
    let serve = Serve::start(&host, &(web(&host, "8001, 8002, 8003") + check), "");
    let has = |health: &str| {
        wait_until(&format!("8001 is {health}"), Duration::from_secs(5), || {
            host.instances("web")["8001"]["health"] == health
        });
    };
    has("up");
    let load = load(&host);
    daemons.remove(0).kill();
    has("down");
    serve.says("found nobody listening");
    let _again = Daemon::python(&host.lan.server, 8001);
    has("up");
    serve.says("it listens");
    load.go_on(100);
    load.stop().no_failed_connect();
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

engines! { services_outlive_a_boot_in_the_state_file: ebpf nft }
fn services_outlive_a_boot_in_the_state_file(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    let folder = tempfile::tempdir().must("make a folder for the state file");
    let state = folder.path().join("state.toml");
    let flags = format!("--state {}", state.display());
    let mut serve = Serve::start(&host, &web(&host, "8001"), &flags);
    host.wocut("add web 8002").ok();
    serve.says("added 8002");
    wait_until("the state file has it", Duration::from_secs(5), || {
        fs::read_to_string(&state).is_ok_and(|text| text.contains("8002"))
    });
    serve.kill();
    // What a boot leaves.
    host.wocut("detach --all").ok();
    serve.write(&web(&host, "8003"));
    serve.again(&host, &flags);
    host.has_instances("web", &[8001, 8002]);
    host.burst_both(100).no_failure().only(&[8001, 8002]);
}

engines! { one_daemon_runs_in_a_namespace: ebpf }
fn one_daemon_runs_in_a_namespace(engine: Engine) {
    let host = Host::new(engine);
    let mut serve = Serve::start(&host, "", "");
    host.wocut("serve").code(1).says("runs in this network namespace already");
    serve.kill();
    serve.again(&host, "--detach-on-exit");
    host.attach("web 80/tcp to 8001");
    assert_eq!(serve.terminate(), Some(0));
    host.wocut("status").ok();
    assert!(!host.lan.server.pins().exists());
}
