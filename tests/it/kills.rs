//! A minute of `kill -9` under load: of `wocut run`, of `wocut cluster`, and of its workers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use wocut_tests::commands::Commands;
use wocut_tests::emulated::limit;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::figures::note;
use wocut_tests::host::Host;
use wocut_tests::must::Must as _;
use wocut_tests::processes::{only_processes, signal};
use wocut_tests::random::Random;
use wocut_tests::requests::{Ends, Requests, Sum};
use wocut_tests::rules::saved_rules;
use wocut_tests::wait::wait_until;
use wocut_tests::wrapper::Wrapper;

const CLIENTS: u16 = 16;
const WORKERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// Those that were drained by one that was killed wait for the next one that is not; a request may take its time.
const APP: &str = "run app --listen 81/tcp --ports 41000-41999 --grace 3m";
const WEB: &str = "cluster web --listen 80/tcp --ports 40000-40999 --output inherit -n 4";
const POLL: &str =
    "cluster poll --listen 82/tcp --ports 42000-42099 --output inherit -n 2 --retire-timeout 3m";

engines! { kills_at_random_for_a_minute_cost_no_more_than_they_must: ebpf nft }
fn kills_at_random_for_a_minute_cost_no_more_than_they_must(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let command = commands.python("v1");
    let mut poll = Wrapper::start(&host, POLL, &command);
    serves(&mut poll);
    let polls = [0; 4].map(|_| near(&host, 82).begin(&host.lan.client));
    host.wocut("cluster reload poll").ok();
    let minute = limit(Duration::from_mins(1));
    let (mut wrapper, mut master) = thread::scope(|scope| {
        let wrapper = scope.spawn(|| kill_wrappers(&host, &command, minute));
        let master = kill_masters_and_workers(&host, &command, minute);
        (wrapper.join().must("join who kills wrappers"), master)
    });
    for poll in polls {
        let name = poll.name.clone();
        assert_eq!(poll.finish().must("have a request of a minute answered"), name);
    }
    wrapper.signal(Signal::TERM);
    assert_eq!(wrapper.end(), Some(0), "{}", wrapper.log());
    for (name, master) in [("web", &mut master), ("poll", &mut poll)] {
        host.wocut(&format!("cluster stop {name}")).ok();
        assert_eq!(master.end(), Some(0), "{}", master.log());
    }
    only_processes(&host.lan.server, &[]);
    host.has_only(&rules);
}

/// Deploys again and again, and kills one of all wrappers each time: no request is lost, and none that takes a minute.
fn kill_wrappers(host: &Host, command: &[String], minute: Duration) -> Wrapper {
    let mut random = Random::seeded();
    let mut wrappers = vec![Wrapper::start(host, APP, command)];
    serves(&mut wrappers[0]);
    let poll = near(host, 81).begin(&host.lan.client);
    let (load, start) = (load(host, 81), Instant::now());
    let mut killed = 0;
    while start.elapsed() < minute {
        wrappers.push(Wrapper::start(host, APP, command));
        load.go_on(random.below(3000).into());
        let indexes: Vec<usize> = (0..wrappers.len()).collect();
        wrappers.swap_remove(random.pick(&indexes)).kill();
        killed += 1;
    }
    drop(wrappers);
    let mut last = Wrapper::start(host, APP, command);
    serves(&mut last);
    assert_eq!(poll.finish().must("have a request of a minute answered").version, "v1");
    wait_until("all others have ended", PATIENCE, || host.instances("app").len() == 1);
    tell(host, &format!("{killed} wrappers"), &load.stop()).no_failure();
    last
}

/// A worker takes the requests with it that it has, and a master none.
fn kill_masters_and_workers(host: &Host, command: &[String], minute: Duration) -> Wrapper {
    let mut random = Random::seeded();
    let mut master = Wrapper::start(host, WEB, command);
    wait_until("the workers serve", PATIENCE, || workers(host).len() == WORKERS);
    let (load, start) = (load(host, 80), Instant::now());
    let (mut masters, mut killed) = (0, 0);
    while start.elapsed() < minute {
        let before = workers(host);
        let gone: BTreeSet<u32> = if random.below(3) == 0 {
            master.kill();
            master = Wrapper::start(host, WEB, command);
            masters += 1;
            before
        } else {
            let one = random.pick(&before.into_iter().collect::<Vec<_>>());
            signal(one, Signal::KILL);
            killed += 1;
            [one].into()
        };
        wait_until("others serve in their place", PATIENCE, || {
            let now = workers(host);
            now.len() == WORKERS && now.is_disjoint(&gone)
        });
    }
    load.go_on(u64::from(CLIENTS));
    let sum = load.stop();
    tell(host, &format!("{masters} masters and {killed} workers"), &sum);
    assert!(sum.failed() <= killed * u64::from(CLIENTS), "{killed} workers killed: {sum}");
    // A handshake that a killed one was at is refused; who comes later goes to others.
    let refused = sum.failures.iter().filter(|(why, _)| why.starts_with("connect:"));
    assert!(refused.map(|(_, count)| count).sum::<u64>() <= killed, "{killed} workers killed: {sum}");
    master
}

/// The processes of the workers that serve.
fn workers(host: &Host) -> BTreeSet<u32> {
    let status = host.wocut("cluster status web --json");
    let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    let all = status["workers"].as_array().cloned().unwrap_or_default();
    let serving = all.iter().filter(|worker| worker["state"] == "serving");
    serving
        .map(|worker| worker["pid"].as_u64().and_then(|id| id.try_into().ok()).must("read a process"))
        .collect()
}

/// What is wanted is written down before the kernel does it, and told after.
#[track_caller]
fn serves(wrapper: &mut Wrapper) {
    wait_until("systemd is told that it serves", PATIENCE, || wrapper.notifications.has("READY=1"));
}

fn near(host: &Host, port: u16) -> Ends {
    let ends = Ends::near(&host.lan);
    Ends { to: SocketAddr::new(ends.to.ip(), port), ..ends }
}

fn load(host: &Host, port: u16) -> Requests {
    let to = |ends: Ends| Ends { to: SocketAddr::new(ends.to.ip(), port), ..ends };
    let ends: Vec<Ends> = Ends::remote(&host.lan, CLIENTS).into_iter().map(to).collect();
    Requests::start(&host.lan.client, &ends)
}

fn tell<'a>(host: &Host, killed: &str, sum: &'a Sum) -> &'a Sum {
    note(format_args!("{:?}: {killed} killed: {sum}", host.engine));
    sum
}
