//! What is left after detach: nothing of wocut's, everything of the others'.

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::burst;
use wocut_tests::pins::{link_ids, pinned_links};
use wocut_tests::rules::saved_rules;

engines! { detach_leaves_nothing_behind: ebpf tc nft legacy }
fn detach_leaves_nothing_behind(engine: Engine) {
    let host = Host::with_firewall(engine);
    let server = &host.lan.server;
    server.set("ipv4/ip_local_reserved_ports", "9999");
    let rules = saved_rules(&host);
    let _daemons = Daemon::pythons(server, 8001..=8002);
    host.attach("web 80/tcp to 8001 8002");
    host.burst_both(100).no_failure();
    let links = pinned_links(server);
    assert_eq!(server.get("ipv4/ip_local_reserved_ports"), "80,9999");
    host.wocut("detach web").ok();

    assert_eq!(saved_rules(&host), rules);
    assert_eq!(server.get("ipv4/ip_local_reserved_ports"), "9999");
    assert!(!server.pins().exists(), "{} is left", server.pins().display());
    assert!(!server.state().exists(), "{} is left", server.state().display());
    let left = link_ids();
    assert!(links.iter().all(|link| !left.contains(&link.id)), "of {links:?}, some are left");
    assert_eq!(host.burst(Family::V4, 5).failures.len(), 5, "nobody listens on the service port");
}

engines! { detach_of_one_service_leaves_the_other: ebpf tc nft legacy }
fn detach_of_one_service_leaves_the_other(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.attach("web 80/tcp to 8001");
    host.attach("api 81/tcp to 8002");
    host.wocut("detach web").ok();
    burst(&host.lan.client, host.lan.at(Family::V6, 81), 50).no_failure().only(&[8002]);
    assert_eq!(burst(&host.lan.client, host.lan.at(Family::V6, SERVICE), 5).failures.len(), 5);
}

engines! { detach_all_takes_every_service: ebpf tc nft legacy }
fn detach_all_takes_every_service(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    host.attach("web 80/tcp to 8001");
    host.attach("api 81/tcp to 8002");
    host.wocut("detach --all").ok();
    host.wocut("detach --all").ok();
    assert_eq!(saved_rules(&host), rules);
    assert!(!host.lan.server.pins().exists());
    assert!(!host.lan.server.state().exists());
}
