//! Looking at a service with the system's own tools.

use serde_json::{Value, json};
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::Host;
use wocut_tests::pins::{dump, pinned_links};

/// The row of the `instances` map for a port, as bpftool names its fields.
fn row(host: &Host, port: u16) -> Value {
    let rows = dump(&host.lan.server, "instances");
    let with_port = |row: &&Value| row["value"]["port"] == port;
    rows.iter().find(with_port).unwrap_or_else(|| panic!("no row with port {port} in {rows:?}"))["value"]
        .clone()
}

engines! { bpftool_shows_the_instances_with_named_fields: ebpf }
fn bpftool_shows_the_instances_with_named_fields(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001 8002*3 canary=127.0.0.1:8003 [fd00:1::1]:8004");
    host.wocut("drain web 8002").ok();
    host.wocut("maint web canary").ok();
    let expected = [(8001, 1, 0), (8002, 3, 1), (8003, 1, 2), (8004, 1, 0)];
    for (port, weight, state) in expected {
        let row = row(&host, port);
        assert_eq!((&row["weight"], &row["state"]), (&json!(weight), &json!(state)), "{row}");
    }
    let address = |port| row(&host, port)["address"].clone();
    assert_eq!(address(8001), json!([0_u8; 16].as_slice()));
    assert_eq!(address(8003), json!([127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(address(8004), json!([0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));

    host.wocut("ready web 8002").ok();
    host.wocut("weight web 8002 7").ok();
    host.wocut("remove web 8001").ok();
    let after = row(&host, 8002);
    assert_eq!((&after["weight"], &after["state"]), (&json!(7), &json!(0)), "{after}");
    assert_eq!(dump(&host.lan.server, "instances").len(), 3);
}

engines! { bpftool_shows_the_links: ebpf }
fn bpftool_shows_the_links(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001");
    let links = pinned_links(&host.lan.server);
    let inode = host.lan.server.inode();
    let in_netns = |link: &Value| link["attach_type"] == "sk_lookup" && link["netns_ino"] == inode;
    assert!(links.iter().any(|link| in_netns(&link.shown)), "no sk_lookup link of {inode} in {links:?}");
    let sock_ops =
        |link: &Value| link["type"] == "cgroup" && link["attach_type"].to_string().contains("sock_ops");
    assert!(links.iter().any(|link| sock_ops(&link.shown)), "no sock_ops link in {links:?}");
}

engines! { iptables_shows_own_chains_with_the_service_name: nft legacy }
fn iptables_shows_own_chains_with_the_service_name(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001 8002");
    for program in ["iptables-save", "ip6tables-save"] {
        let rules = wocut_tests::tool::run(&mut host.tool(program));
        for part in [":WOCUT ", ":WOCUT-web ", "--dst-type LOCAL"] {
            assert!(rules.contains(part), "no {part:?} in {program}:\n{rules}");
        }
        for hook in ["PREROUTING", "OUTPUT"] {
            let jumps = rules.lines().filter(|line| line.starts_with(&format!("-A {hook} "))).count();
            assert_eq!(jumps, 2, "jumps from {hook}, one a table:\n{rules}");
        }
    }
}

engines! { status_has_every_field_of_the_contract: ebpf nft legacy }
fn status_has_every_field_of_the_contract(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp [fd00:1::1]:443/tcp to 8001 canary=[fd00:1::1]:8002*3");
    let status = host.wocut("status --json").ok().json();
    assert_eq!(status["schema"], 1);
    let service = &status["services"][0];
    assert_eq!(service["name"], "web");
    assert_eq!(service["engine"], engine.word());
    assert_eq!(service["listen"], json!(["80/tcp", "[fd00:1::1]:443/tcp"]));
    assert_eq!((&service["policy"], &service["on_empty"]), (&json!("random"), &json!("pass")));
    let canary = &service["instances"][1];
    assert_eq!(canary["name"], "canary");
    assert_eq!(
        (&canary["address"], &canary["port"], &canary["weight"]),
        (&json!("fd00:1::1"), &json!(8002), &json!(3))
    );
    assert_eq!(
        (&canary["admin"], &canary["listening"], &canary["share"]),
        (&json!("ready"), &json!(false), &json!(0.75))
    );
    let fields = [
        "picked",
        "failovers",
        "active",
        "connections",
        "received_bytes",
        "sent_bytes",
        "accept_queue",
        "health",
    ];
    for field in fields {
        assert!(canary.get(field).is_some(), "no {field} in {canary}");
    }
}
