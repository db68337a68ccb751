//! A DNS service: real servers behind one port for datagrams and connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use wocut_tests::daemon::{Daemon, python};
use wocut_tests::engine::Engine;
use wocut_tests::host::Host;
use wocut_tests::lan::Family;
use wocut_tests::must::Must as _;
use wocut_tests::need::tool;
use wocut_tests::netns::Netns;
use wocut_tests::sockets::{accept_queue, has_udp};
use wocut_tests::tool::run;
use wocut_tests::wait::wait_until;
use wocut_tests::{engines, need};

const DNS: u16 = 53;
const ALL: [u16; 3] = [8001, 8002, 8003];

/// dnsmasq on a port, once it listens; it tells the port as the text of `instance.test`.
fn dnsmasq(netns: &Netns, port: u16) -> Daemon {
    let mut command = netns.command("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
    ]);
    // On a socket for every address it closes connections to a port that is not its own, and that of a service is not.
    command.args(["--bind-interfaces", "--pid-file=", "--log-facility=/dev/null", &format!("--port={port}")]);
    let daemon = Daemon::start(command.arg(format!("--txt-record=instance.test,{port}")));
    let listens = || has_udp(netns, port) && accept_queue(netns, port).is_some();
    wait_until("dnsmasq listens", Duration::from_secs(10), listens);
    daemon
}

/// Asks so often, by UDP from these ports upwards, and gives how often each instance answered, and what else came.
fn ask(from: &Netns, to: SocketAddr, transport: &str, number: u64, port: u16) -> BTreeMap<String, u64> {
    let mut command = python(from, include_str!("../src/dns.py"));
    command.args([&to.ip().to_string(), &to.port().to_string(), transport]);
    command.args([number.to_string(), port.to_string()]);
    let answers = run(&mut command);
    let count = |line: &str| {
        let (count, instance) = line.split_once(' ').must("read a count");
        (instance.to_owned(), count.parse().must("read a count"))
    };
    answers.lines().map(count).collect()
}

/// Fails the test unless each of the instances has its share of so many answers, and there is nothing else.
#[track_caller]
fn shared(answers: &BTreeMap<String, u64>, number: u64, instances: &[u16]) {
    assert!(answers.keys().eq(&instances.iter().map(u16::to_string).collect::<Vec<_>>()), "{answers:?}");
    assert_eq!(answers.values().sum::<u64>(), number, "{answers:?}");
    let least = number / instances.len() as u64 * 2 / 3;
    assert!(answers.values().all(|count| *count > least), "{answers:?}");
}

engines! { ten_thousand_queries_are_all_answered: ebpf }
fn ten_thousand_queries_are_all_answered(engine: Engine) {
    need!(tool("dnsmasq"));
    let host = Host::new(engine);
    let mut servers: Vec<Daemon> = ALL.map(|port| dnsmasq(&host.lan.server, port)).into();
    host.attach("dns 53/udp 53/tcp to 8001 8002 8003");
    let (client, server) = (&host.lan.client, &host.lan.server);
    for family in Family::BOTH {
        let to = host.lan.at(family, DNS);
        shared(&ask(client, to, "udp", 4000, 10_000), 4000, &ALL);
        shared(&ask(server, (family.loopback(), DNS).into(), "udp", 500, 10_000), 500, &ALL);
        shared(&ask(client, to, "tcp", 500, 0), 500, &ALL);
    }
    host.wocut("drain dns 8002").ok();
    for family in Family::BOTH {
        let to = host.lan.at(family, DNS);
        shared(&ask(client, to, "udp", 500, 20_000), 500, &[8001, 8003]);
        shared(&ask(client, to, "tcp", 200, 0), 200, &[8001, 8003]);
    }
    // Nobody has to tell that it is gone, and its flows go on elsewhere.
    servers.remove(0).kill();
    for family in Family::BOTH {
        let to = host.lan.at(family, DNS);
        shared(&ask(client, to, "udp", 500, 20_000), 500, &[8003]);
        shared(&ask(client, to, "tcp", 200, 0), 200, &[8003]);
    }
}
