//! UDP flows of instances that are gone, on the rules engine.

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::Host;
use wocut_tests::lan::Family;
use wocut_tests::must::Must as _;
use wocut_tests::udp::Flow;

const DNS: u16 = 53;
const ALL: [u16; 3] = [8001, 8002, 8003];

/// Flows from everywhere, several of them on each instance.
fn open(host: &Host) -> Vec<Flow> {
    let remote = Family::BOTH.map(|family| (&host.lan.client, host.lan.at(family, DNS)));
    let local = Family::BOTH.map(|family| (&host.lan.server, (family.loopback(), DNS).into()));
    let each = |(from, to)| Flow::open_on_each(from, 10_000..10_100, to, &ALL);
    [remote, local].concat().into_iter().flat_map(each).collect()
}

/// Those of one instance have gone to some of these; all others are where they were.
#[track_caller]
fn left(flows: &[Flow], gone: &[u16], to: &[u16]) {
    for flow in flows {
        if gone.contains(&flow.answer.instance) {
            let again = flow.again().must("use a flow again");
            assert!(to.contains(&again.instance), "{} became {}", flow.answer.instance, again.instance);
            assert_eq!(again.peer, flow.answer.peer);
        } else {
            flow.stays();
        }
    }
}

engines! { flows_of_a_removed_instance_go_to_others: nft legacy }
fn flows_of_a_removed_instance_go_to_others(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    let flows = open(&host);
    host.wocut("remove dns 8001").ok();
    left(&flows, &[8001], &[8002, 8003]);
    host.wocut("add dns 8001").ok();
    left(&flows, &[8001], &[8002, 8003]);
}

engines! { flows_that_an_attach_by_force_leaves_out_go_to_others: nft legacy }
fn flows_that_an_attach_by_force_leaves_out_go_to_others(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::udp(&host.lan.server, 8001..=8004);
    host.attach("dns 53/udp to 8001 8002 8003");
    let flows = open(&host);
    host.wocut(&host.attach_line("dns 53/udp to 8003 8004 --policy sticky --force")).ok();
    left(&flows, &[8001, 8002], &[8003, 8004]);
}

engines! { flows_of_a_service_that_ends_go_to_the_plain_daemon: nft legacy }
fn flows_of_a_service_that_ends_go_to_the_plain_daemon(engine: Engine) {
    let host = Host::new(engine);
    let _plain = Daemon::udp(&host.lan.server, [DNS]);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    host.attach("web 80/tcp to 8001");
    let flows = open(&host);
    host.wocut("detach dns").ok();
    left(&flows, &ALL, &[DNS]);
}

engines! { flows_of_the_last_service_go_to_the_plain_daemon: nft legacy }
fn flows_of_the_last_service_go_to_the_plain_daemon(engine: Engine) {
    let host = Host::with_firewall(engine);
    let _plain = Daemon::udp(&host.lan.server, [DNS]);
    let _daemons = Daemon::udp(&host.lan.server, ALL);
    host.attach("dns 53/udp to 8001 8002 8003");
    let flows = open(&host);
    host.wocut("detach dns").ok();
    left(&flows, &ALL, &[DNS]);
}
