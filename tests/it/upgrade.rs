//! `wocut upgrade` swaps programs under load, and touches nobody else's.

use std::process::Command;

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::Load;
use wocut_tests::must::Must as _;
use wocut_tests::pins::{dump, pinned_links};
use wocut_tests::tool::run;
use wocut_tests::udp::Flow;

const NOT_ATTACHED: i32 = 3;
const CONFLICT: i32 = 5;

engines! { upgrade_swaps_programs_under_load: ebpf tc }
fn upgrade_swaps_programs_under_load(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    let _datagrams = Daemon::udp(&host.lan.server, 9001..=9002);
    host.attach("web 80/tcp to 8001 8002 8003");
    host.attach("dns 53/udp to 9001 9002");
    let at = |family| host.lan.at(family, SERVICE);
    let mut held = Family::BOTH.map(|family| Held::open(&host.lan.client, at(family)));
    let flows = Family::BOTH.map(|family| Flow::open(&host.lan.client, 20_000, host.lan.at(family, 53)));
    let load = Load::start(&host.lan.client, &Family::BOTH.map(at), 4);
    let programs = || {
        let mut links: Vec<_> = pinned_links(&host.lan.server)
            .into_iter()
            .map(|link| (link.id, link.shown["prog_id"].as_u64()))
            .collect();
        links.sort_unstable();
        links
    };
    let before = programs();
    for _ in 0..20 {
        load.go_on(50);
        let said = host.wocut("upgrade");
        assert!(said.ok().stdout.contains("lookup is program"), "{said}");
    }
    let after = programs();
    let served = load.stop();
    served.no_failure().only(&[8001, 8002, 8003]);
    assert_eq!(
        before.iter().map(|(link, _)| link).collect::<Vec<_>>(),
        after.iter().map(|(link, _)| link).collect::<Vec<_>>(),
        "links stay"
    );
    assert!(
        before.iter().zip(&after).all(|(old, new)| old.1 != new.1),
        "programs change: {before:?} {after:?}"
    );
    held.iter_mut().for_each(Held::alive);
    flows.iter().for_each(Flow::stays);
    let counted: u64 =
        host.instances("web").values().filter_map(|instance| instance["connections"].as_u64()).sum();
    assert_eq!(counted, served.answered_total() + 2, "no connection is counted twice or not at all");
}

engines! { nothing_attached_is_nothing_to_upgrade: ebpf nft }
fn nothing_attached_is_nothing_to_upgrade(engine: Engine) {
    let host = Host::new(engine);
    if engine == Engine::Nft {
        host.attach("web 80/tcp to 8001");
    }
    host.wocut("upgrade").code(NOT_ATTACHED).says("nothing to upgrade");
}

engines! { programs_of_another_layout_are_named_and_left_alone: ebpf }
fn programs_of_another_layout_are_named_and_left_alone(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.attach("web 80/tcp to 8001 8002");
    let pin = host.lan.server.pins().join("settings");
    let shown = run(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(&pin));
    let rows: serde_json::Value = serde_json::from_str(&shown).must("read rows");
    let bytes = rows[0]["value"].as_array().must("read a value");
    let mut bytes: Vec<String> = bytes
        .iter()
        .map(|byte| byte.as_str().must("read a byte").trim_start_matches("0x").to_owned())
        .collect();
    assert!(dump(&host.lan.server, "settings")[0]["value"]["abi_version"].is_u64());
    bytes[0] = "63".into();
    let mut update = Command::new("bpftool");
    update
        .args(["map", "update", "pinned"])
        .arg(&pin)
        .args(["key", "hex", "00", "00", "00", "00", "value", "hex"]);
    run(update.args(&bytes));
    let links = pinned_links(&host.lan.server).len();
    for command in ["upgrade", "drain web 8001", "add web 8003"] {
        host.wocut(command).code(CONFLICT).says("another version of wocut").says("version 99");
    }
    assert_eq!(pinned_links(&host.lan.server).len(), links);
    host.burst_both(100).no_failure().only(&[8001, 8002]);
}

engines! { a_link_with_a_foreign_program_is_named_and_left_alone: ebpf }
fn a_link_with_a_foreign_program_is_named_and_left_alone(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.attach("web 80/tcp to 8001 8002");
    // The link of another hook in its place: it runs a program, and not that which should be here.
    let pins = host.lan.server.pins();
    std::fs::remove_file(pins.join("lookup_link")).must("unpin a link");
    run(Command::new("bpftool")
        .args(["link", "pin", "pinned"])
        .arg(pins.join("account_link"))
        .arg(pins.join("lookup_link")));
    let account =
        pinned_links(&host.lan.server).iter().map(|link| link.shown["prog_id"].clone()).collect::<Vec<_>>();
    host.wocut("upgrade").code(CONFLICT).says("runs program `account`").says("lookup_link");
    let after =
        pinned_links(&host.lan.server).iter().map(|link| link.shown["prog_id"].clone()).collect::<Vec<_>>();
    assert_eq!(account.len(), after.len());
}

engines! { what_was_removed_from_the_pins_is_named_and_put_back: ebpf tc }
fn what_was_removed_from_the_pins_is_named_and_put_back(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.attach("web 80/tcp to 8001 8002");
    std::fs::remove_dir_all(host.lan.server.pins()).must("remove all pins");
    for command in ["status", "stats"] {
        host.wocut(command).code(1).says("somebody removed").says("`wocut upgrade` puts it back");
    }
    host.wocut("upgrade").ok();
    host.wocut("status").ok();
    host.burst_both(100).no_failure().only(&[8001, 8002]);
}
