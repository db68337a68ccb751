//! The daemon: files, and what others do to the kernel.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wocut_tests::daemon::Daemon;
use wocut_tests::emulated::limit;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::figures::note;
use wocut_tests::host::Host;
use wocut_tests::lan::{Family, connect};
use wocut_tests::must::Must as _;
use wocut_tests::netns::Netns;
use wocut_tests::serve::{Serve, service, web};
use wocut_tests::tool::run;
use wocut_tests::udp;
use wocut_tests::wait::wait_until;

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

engines! { new_interface_is_served_within_two_seconds: ebpf }
fn new_interface_is_served_within_two_seconds(engine: Engine) {
    let host = Host::new(engine);
    let late = Netns::new("late");
    let _daemons = Daemon::udp(&host.lan.server, 8001..=8002);
    let dns = service(&host, "dns", "listen = [\"53/udp\"]\ninstances = [8001, 8002]");
    let serve = Serve::start(&host, &dns, "");
    connect(&host.lan.server, &late, 3);
    serve.says_within("repaired", limit(Duration::from_secs(2)));
    for family in Family::BOTH {
        let to = SocketAddr::new(family.host(3, 1), 53);
        udp::burst(&late, 10_000..10_100, to).no_failure().only(&[8001, 8002]);
    }
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

engines! { state_file_that_cannot_be_written_is_told_and_ends_nothing: ebpf }
fn state_file_that_cannot_be_written_is_told_and_ends_nothing(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let folder = tempfile::tempdir().must("make a folder for the state file");
    let state = folder.path().join("kept/state.toml");
    let mut serve = Serve::start(&host, "", &format!("--state {}", state.display()));
    let web = r#"{"address": ":80", "backends": [{"address": ":8001"}]}"#;
    serve.ask("PUT", "/web", web).is(200);
    serve.says("outlive a boot");
    host.burst_both(100).no_failure().only(&[8001]);
    host.wocut("add web 8002").ok();
    serve.says("added 8002");
    fs::create_dir(folder.path().join("kept")).must("make room for the state file");
    serve.ask("PUT", "/web/8002", r#"{"address": ":8002", "weight": 2}"#).is(200);
    assert!(fs::read_to_string(&state).must("read the state file").contains("8002*2"));
    assert_eq!(serve.terminate(), Some(0));
    host.has_instances("web", &[8001, 8002]);
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
