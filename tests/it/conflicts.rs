//! What else on the host is in the way: exit 5, each owner named, nothing changed, and `--force` goes on.

use std::fs;

use serde_json::Value;
use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::engine::Engine;
use wocut_tests::host::{Host, SERVICE, words};
use wocut_tests::lan::Family;
use wocut_tests::load::burst;
use wocut_tests::need::{tcx, tool};
use wocut_tests::rules::{add_foreign_rules, saved_rules};
use wocut_tests::tool::run;
use wocut_tests::wocut::Outcome;
use wocut_tests::{engines, need, rival};

const CONFLICT: i32 = 5;

/// Everything that wocut keeps for the server.
fn kept(host: &Host) -> (Option<String>, String, bool) {
    let server = &host.lan.server;
    (fs::read_to_string(server.state()).ok(), saved_rules(host), server.pins().exists())
}

/// Refuses the command for exactly these kinds of conflict, by kind and owner, in earnest and in rehearsal, and changes
/// nothing.
#[track_caller]
fn refused(host: &Host, command: &str, expected: &[(&str, &str)]) {
    let before = kept(host);
    for rehearsal in ["", " --dry-run"] {
        let outcome = host.wocut(&format!("{command}{rehearsal}"));
        outcome.code(CONFLICT).says("hint: `--force`");
        assert!(outcome.stdout.is_empty(), "{outcome}");
        let lines = outcome.stderr.lines().filter(|line| line.starts_with("  conflict: ")).count();
        let json = host.wocut(&format!("{command}{rehearsal} --json"));
        json.code(CONFLICT);
        let error: Value = serde_json::from_str(&json.stderr).unwrap_or_else(|_| panic!("{json}"));
        let conflicts = error["conflicts"].as_array().unwrap_or_else(|| panic!("no conflicts: {json}"));
        assert_eq!(lines, conflicts.len(), "one line each: {outcome}");
        let text = |conflict: &Value, field: &str| conflict[field].as_str().unwrap_or_default().to_owned();
        for (kind, owner) in expected {
            let fits = |conflict: &&Value| {
                text(conflict, "kind") == *kind && text(conflict, "owner").contains(owner)
            };
            assert!(conflicts.iter().any(|conflict| fits(&conflict)), "no {kind} of {owner}: {json}");
        }
        for conflict in conflicts {
            let fits = |(kind, owner): &(&str, &str)| {
                text(conflict, "kind") == *kind && text(conflict, "owner").contains(owner)
            };
            assert!(expected.iter().any(fits), "not expected: {conflict}");
            assert!(outcome.stderr.contains(&text(conflict, "owner")), "{outcome}");
        }
    }
    assert_eq!(kept(host), before, "{command}");
}

/// Takes the command in spite of conflicts, and says so.
#[track_caller]
fn forced(host: &Host, command: &str) -> Outcome {
    let rehearsed = host.wocut(&format!("{command} --force --dry-run"));
    rehearsed.ok().says("warning: in spite of a conflict: ");
    let outcome = host.wocut(&format!("{command} --force"));
    outcome.ok().says("warning: in spite of a conflict: ");
    outcome
}

fn attach_web(host: &Host) -> String {
    host.attach_line("web 80/tcp to 8001 8002")
}

engines! { listener_on_the_service_port_is_told_with_its_process: ebpf nft legacy }
fn listener_on_the_service_port_is_told_with_its_process(engine: Engine) {
    let host = Host::new(engine);
    let plain = Daemon::python(&host.lan.server, SERVICE);
    let _elsewhere = Daemon::python(&host.lan.server, 81);
    let outcome = host.wocut(&attach_web(&host));
    outcome.ok().says("warning: ").says("80/tcp").says(&plain.id().to_string());
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    // Said twice, it is the service's own by now.
    let again = host.wocut(&attach_web(&host));
    assert_eq!(again.ok().stderr, "", "{again}");
}

engines! { listener_on_another_address_is_not_told: ebpf nft legacy }
fn listener_on_another_address_is_not_told(engine: Engine) {
    let host = Host::new(engine);
    let listen = Listen { address: "127.0.0.1", ..Listen::on(SERVICE) };
    let _plain = Daemon::python_with(&host.lan.server, listen);
    let outcome = host.attach("web 10.1.0.1:80/tcp to 8001");
    assert_eq!(outcome.stderr, "", "{outcome}");
}

engines! { other_program_that_picks_sockets_is_a_conflict: ebpf nft }
fn other_program_that_picks_sockets_is_a_conflict(engine: Engine) {
    need!(Engine::Ebpf.available());
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    let rival = rival::on_lookup(&host.lan.server, "steerer");
    refused(&host, &attach_web(&host), &[("sk_lookup", "`steerer`")]);
    forced(&host, &attach_web(&host));
    host.burst_both(200).no_failure().only(&[8001, 8002]);
    drop(rival);
    // Its own program is none.
    let more = host.attach("api 81/tcp to 8003");
    assert_eq!(more.stderr, "", "{more}");
}

engines! { published_port_of_a_container_is_a_conflict: ebpf nft legacy }
fn published_port_of_a_container_is_a_conflict(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    rival::docker(&host, SERVICE);
    refused(&host, &attach_web(&host), &[("rule", "Docker, chain DOCKER of ")]);
    forced(&host, &attach_web(&host));
    if engine == Engine::Ebpf {
        // The pick comes after the translation. When the container is gone, its rules are too.
        for family in ["iptables", "ip6tables"] {
            run(host.tool(family).args(["-t", "nat", "-F", "DOCKER"]));
        }
    }
    host.burst_both(100).no_failure().only(&[8001, 8002]);
}

engines! { rules_for_other_traffic_are_no_conflict: ebpf nft legacy }
fn rules_for_other_traffic_are_no_conflict(engine: Engine) {
    let host = Host::new(engine);
    rival::docker(&host, 8080);
    add_foreign_rules(&host);
    for rule in [
        "-t nat -A PREROUTING -p udp --dport 80 -j REDIRECT --to-ports 9000",
        "-t nat -A PREROUTING -d 198.51.100.7 -p tcp --dport 80 -j DNAT --to-destination 198.51.100.8",
        "-t nat -A OUTPUT -d 169.254.169.254 -p tcp --dport 80 -j REDIRECT --to-ports 9000",
        "-t mangle -A PREROUTING -p tcp --dport 2222 -j MARK --set-mark 1",
        "-t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-xmark 0x80000/0xff0000",
    ] {
        run(host.tool("iptables").args(words(rule)));
    }
    host.lan.server.ip("rule add fwmark 0x80000/0xff0000 lookup 52");
    let outcome = host.attach("web 80/tcp to 8001 8002");
    assert_eq!(outcome.stderr, "", "{outcome}");
}

engines! { rules_that_iptables_cannot_show_are_a_conflict: ebpf nft legacy }
fn rules_that_iptables_cannot_show_are_a_conflict(engine: Engine) {
    need!(tool("nft"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    let rules = "table inet firewalld {
        chain nat_PREROUTING { type nat hook prerouting priority 0; jump nat_PRE_public; }
        chain nat_PRE_public { tcp dport { 80, 443 } redirect to :8080; }
        chain filter_INPUT { type filter hook input priority 10; tcp dport 8443 drop; }
    }";
    rival::nft(&host.lan.server, rules);
    refused(
        &host,
        &attach_web(&host),
        &[("rule", "firewalld, chain nat_PRE_public of nft table inet firewalld")],
    );
    let other = host.wocut(&host.attach_line("other 81/tcp to 8003"));
    assert_eq!(other.ok().stderr, "", "{other}");
    forced(&host, &attach_web(&host));
    rival::nft(&host.lan.server, "delete table inet firewalld");
    host.burst_both(100).no_failure().only(&[8001, 8002]);
}

engines! { rule_that_refuses_clients_is_told: ebpf nft legacy }
fn rule_that_refuses_clients_is_told(engine: Engine) {
    let host = Host::new(engine);
    let port = if engine == Engine::Ebpf { 80 } else { 8001 };
    let ban = format!("-A INPUT -s 198.51.100.7 -p tcp --dport {port} -j DROP");
    run(host.tool("iptables").args(words(&ban)));
    let banned = host.attach("web 80/tcp to 8001");
    assert_eq!(banned.stderr, "", "{banned}");
    host.wocut("detach web").ok();
    let rule = format!("-A INPUT -p tcp --dport {port} -j DROP");
    run(host.tool("iptables").args(words(&rule)));
    let outcome = host.attach("web 80/tcp to 8001");
    outcome.says("warning: ").says("chain INPUT").says(&port.to_string());
}

engines! { users_of_the_mark_are_a_conflict: nft legacy }
fn users_of_the_mark_are_a_conflict(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.lan.server.ip("rule add fwmark 0xca6c lookup 51820");
    for rule in [
        "-t nat -N KUBE-MARK-MASQ",
        "-t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "-t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j KUBE-MARK-MASQ",
        "-t mangle -A PREROUTING -j CONNMARK --restore-mark",
    ] {
        run(host.tool("iptables").args(words(rule)));
    }
    let expected = [
        ("mark", "fwmark 0xca6c lookup 51820"),
        ("mark", "Kubernetes, chain KUBE-MARK-MASQ"),
        ("mark", "chain POSTROUTING of iptables table nat"),
        ("mark", "chain PREROUTING of iptables table mangle"),
    ];
    refused(&host, &attach_web(&host), &expected);
    forced(&host, &attach_web(&host));
    host.burst(Family::V6, 100).no_failure().only(&[8001, 8002]);
}

engines! { marks_do_not_matter_without_marks: ebpf }
fn marks_do_not_matter_without_marks(engine: Engine) {
    let host = Host::new(engine);
    host.lan.server.ip("rule add fwmark 0xca6c lookup 51820");
    let outcome = host.attach("web 80/tcp to 8001");
    assert_eq!(outcome.stderr, "", "{outcome}");
}

engines! { instance_of_another_service_is_a_conflict: ebpf nft legacy }
fn instance_of_another_service_is_a_conflict(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 8002]);
    host.attach("web 80/tcp to 8001");
    let owner = [("shared_instance", "service `web`")];
    refused(&host, &host.attach_line("api 81/tcp to 8001 8002"), &owner);
    host.attach("api 81/tcp to 8002");
    refused(&host, "add api 8001", &owner);
    forced(&host, "add api 8001");
    host.wocut("add api 8001").ok();
    host.burst_both(100).no_failure().only(&[8001]);
    for family in Family::BOTH {
        let tally = burst(&host.lan.client, host.lan.at(family, 81), 100);
        tally.no_failure().only(&[8001, 8002]);
    }
    let datagrams = host.wocut("attach dns 53/udp to 8001 --engine iptables");
    assert_eq!(datagrams.ok().stderr, "", "{datagrams}");
}

engines! { instance_port_that_the_kernel_gives_away_is_a_conflict: ebpf nft legacy }
fn instance_port_that_the_kernel_gives_away_is_a_conflict(engine: Engine) {
    let host = Host::new(engine);
    host.lan.server.set("ipv4/ip_local_port_range", "40000 40100");
    let attach = host.attach_line("web 80/tcp to 8001 40001 40002");
    refused(&host, &attach, &[("ephemeral_port", "the kernel")]);
    let _fixed = Daemon::python(&host.lan.server, 8001);
    let daemons = Daemon::pythons(&host.lan.server, [40001, 40002]);
    let told = host.wocut(&attach);
    told.ok().says("40001-40002").says("ip_local_reserved_ports");
    host.burst_both(100).no_failure().only(&[8001, 40001, 40002]);
    host.wocut("detach web").ok();
    drop(daemons);
    forced(&host, &attach);
    refused(&host, "add web 40003", &[("ephemeral_port", "the kernel")]);
    host.lan.server.set("ipv4/ip_local_reserved_ports", "40001-40010");
    let reserved = host.wocut("add web 40003");
    assert_eq!(reserved.ok().stderr, "", "{reserved}");
}

engines! { filters_on_interfaces_are_a_conflict_where_tc_picks: ebpf }
fn filters_on_interfaces_are_a_conflict_where_tc_picks(engine: Engine) {
    let host = Host::new(engine);
    let server = &host.lan.server;
    need!(rival::tc_filter(server, "lo"));
    let attach = host.attach_line("web 80/tcp to 8001 8002 --hook tc");
    refused(&host, &attach, &[("tc_filter", "tc filter u32")]);
    let elsewhere = host.wocut(&attach_web(&host));
    assert_eq!(elsewhere.ok().stderr, "", "{elsewhere}");
    host.wocut("detach web").ok();
    need!(tcx());
    let _rival = rival::on_ingress(server, "lo", "watcher");
    refused(&host, &attach, &[("tc_filter", "tc filter u32"), ("tc_filter", "tcx program `watcher`")]);
}

engines! { every_conflict_is_told_at_once: nft }
fn every_conflict_is_told_at_once(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001");
    rival::docker(&host, 81);
    host.lan.server.ip("rule add fwmark 0x1 lookup 100");
    let expected = [("rule", "Docker"), ("mark", "fwmark 0x1"), ("shared_instance", "service `web`")];
    refused(&host, &host.attach_line("api 81/tcp to 8001 8002"), &expected);
}

engines! { what_cannot_be_looked_at_is_no_error: ebpf }
fn what_cannot_be_looked_at_is_no_error(engine: Engine) {
    need!(tool("nft"));
    let host = Host::new(engine);
    rival::nft(&host.lan.server, "table inet mine { chain c { type nat hook prerouting priority 0; }; }");
    let attach = host.attach_line("web 80/tcp to 8001");
    let quiet = host.wocut_under(&["env", "PATH=/nowhere"], &words(&attach));
    assert_eq!(quiet.ok().stderr, "", "{quiet}");
    host.wocut("detach web").ok();
    let verbose = host.wocut_under(&["env", "PATH=/nowhere"], &words(&format!("{attach} -v")));
    verbose.ok().says("`nft` is not in PATH");
}
