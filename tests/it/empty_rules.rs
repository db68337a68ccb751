//! `--on-empty drop` on the rules engine: clients that are not answered try again.

use std::thread;
use std::time::Duration;

use wocut_tests::client::ask;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::must::Must as _;
use wocut_tests::tool::run;
use wocut_tests::wait::wait_until;

/// Whether a rule has dropped something.
fn has_dropped(host: &Host, family: Family) -> bool {
    let program = if family == Family::V4 { "iptables-save" } else { "ip6tables-save" };
    let rules = run(host.tool(program).args(["-c", "-t", "filter"]));
    rules.lines().any(|line| line.ends_with("-j DROP") && !line.starts_with("[0:"))
}

engines! { client_that_finds_nobody_is_served_when_somebody_is_back: nft legacy }
fn client_that_finds_nobody_is_served_when_somebody_is_back(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    let _daemons = Daemon::pythons(&host.lan.server, [8001]);
    host.attach("web 80/tcp to 8001 --on-empty drop");
    for family in Family::BOTH {
        let to = host.lan.at(family, SERVICE);
        let mut held = Held::open(&host.lan.client, to);
        host.wocut("drain web 8001").ok();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| host.lan.client.run(|| ask(to).map(|(answer, _)| answer.instance)));
            wait_until("a packet is dropped", Duration::from_secs(5), || has_dropped(&host, family));
            held.alive();
            host.wocut("ready web 8001").ok();
            assert_eq!(waiting.join().must("join a client").must("connect"), 8001);
        });
        held.alive();
    }
}
