//! A minute of `kill -9` under load: of `wocut run` and what it runs, of `wocut cluster` and its workers.

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
use wocut_tests::processes::{only_processes, processes, signal, signal_if_there};
use wocut_tests::random::Random;
use wocut_tests::requests::{Ends, Requests, Sum, ask};
use wocut_tests::rules::saved_rules;
use wocut_tests::wait::{wait_for, wait_until};
use wocut_tests::wrapper::Wrapper;

const CLIENTS: u16 = 16;
const WORKERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// Those that were drained by one that was killed wait for the next one that is not; a request may take its time.
const APP: &str = "run app --listen 81/tcp --ports 41000-41999 --grace 3m";
const WEB: &str = "cluster web --listen 80/tcp --ports 40000-40999 --output inherit -n 4 --give-up 1000";
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
    let slow = commands.python("v1 slow");
    let half = limit(Duration::from_secs(30));
    let (mut wrapper, mut master) = thread::scope(|scope| {
        let wrapper = scope.spawn(|| kill_deploys(&host, &command, &slow, half));
        let mut master = kill_masters(&host, &command, half);
        kill_workers(&host, &mut master, half);
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

/// A request of a minute is answered, whatever is killed meanwhile.
fn kill_deploys(host: &Host, command: &[String], slow: &[String], half: Duration) -> Wrapper {
    let mut first = Wrapper::start(host, APP, command);
    serves(&mut first);
    let poll = near(host, 81).begin(&host.lan.client);
    let mut deploys = kill_wrappers(host, command, half, first);
    deploys = kill_programs(host, command, slow, half, deploys);
    assert_eq!(poll.finish().must("have a request of a minute answered").version, "v1");
    wait_until("all others have ended", PATIENCE, || host.instances("app").len() == 1);
    let last = deploys.pop().must("have a last one");
    for mut old in deploys {
        let code = old.end();
        assert!(code == Some(128 + Signal::KILL.as_raw()) || code == Some(0), "{code:?}: {}", old.log());
    }
    last
}

/// Deploys again and again, and kills one of all wrappers each time: no request is lost.
fn kill_wrappers(host: &Host, command: &[String], time: Duration, first: Wrapper) -> Vec<Wrapper> {
    let mut random = Random::seeded();
    let mut wrappers = vec![first];
    let (load, start) = (load(host, 81), Instant::now());
    let mut killed = 0;
    while start.elapsed() < time {
        wrappers.push(Wrapper::start(host, APP, command));
        load.go_on(random.below(3000).into());
        let indexes: Vec<usize> = (0..wrappers.len()).collect();
        wrappers.swap_remove(random.pick(&indexes)).kill();
        killed += 1;
    }
    drop(wrappers);
    let mut last = Wrapper::start(host, APP, command);
    serves(&mut last);
    tell(host, &format!("{killed} wrappers"), &load.stop()).no_failure();
    vec![last]
}

/// Deploys again and again, and kills the program that leaves, or the one that comes up: the requests are lost that the
/// one that leaves has, and no others. One that serves alone takes its service with it, and is not killed.
fn kill_programs(
    host: &Host,
    command: &[String],
    slow: &[String],
    time: Duration,
    mut deploys: Vec<Wrapper>,
) -> Vec<Wrapper> {
    let mut random = Random::seeded();
    let (load, start) = (load(host, 81), Instant::now());
    let (mut leavers, mut comers) = (0, 0);
    while start.elapsed() < time {
        if random.below(3) == 0 {
            kill_comer(host, slow);
            comers += 1;
            continue;
        }
        let id = ask(&host.lan.client, near(host, 81), "/", 1).remove(0).id;
        let mut next = Wrapper::start(host, APP, command);
        serves(&mut next);
        deploys.push(next);
        load.go_on(random.below(50).into());
        // For a second it is not told to end.
        leavers += u64::from(signal_if_there(id, Signal::KILL));
    }
    let sum = load.stop();
    tell(host, &format!("{leavers} programs that left and {comers} that came"), &sum);
    assert!(sum.failed() <= leavers * u64::from(CLIENTS), "{leavers} programs killed: {sum}");
    deploys
}

/// Kills a program that is coming up.
#[track_caller]
fn kill_comer(host: &Host, slow: &[String]) {
    let mut wrapper = Wrapper::start(host, APP, slow);
    let is_slow = |line: &str| line.contains("slow") && !line.contains("--listen");
    let found = wait_for("it comes up", PATIENCE, || {
        processes(&host.lan.server).into_iter().find(|(_, line)| is_slow(line)).map(|(id, _)| id)
    });
    signal(found, Signal::KILL);
    assert_eq!(wrapper.end(), Some(1), "{}", wrapper.log());
}

/// Kills masters at any moment, also while they replace what the one before has left: no request is lost.
fn kill_masters(host: &Host, command: &[String], time: Duration) -> Wrapper {
    let mut random = Random::seeded();
    let mut master = Wrapper::start(host, WEB, command);
    wait_until("the workers serve", PATIENCE, || workers(host).len() == WORKERS);
    let (load, start) = (load(host, 80), Instant::now());
    let mut killed = 0;
    while start.elapsed() < time {
        load.go_on(random.below(3000).into());
        master.kill();
        master = Wrapper::start(host, WEB, command);
        killed += 1;
    }
    serves(&mut master);
    wait_until("the workers serve", PATIENCE, || workers(host).len() == WORKERS);
    load.go_on(u64::from(CLIENTS));
    tell(host, &format!("{killed} masters"), &load.stop()).no_failure();
    master
}

/// A worker takes the requests with it that it has, and no others, also while all are replaced.
fn kill_workers(host: &Host, master: &mut Wrapper, time: Duration) {
    let mut random = Random::seeded();
    let (load, start) = (load(host, 80), Instant::now());
    let mut killed = 0;
    while start.elapsed() < time {
        let one = random.pick(&workers(host).into_iter().collect::<Vec<_>>());
        if random.below(3) == 0 {
            // Whoever was killed before has its replacement at once from here on.
            master.signal(Signal::HUP);
        }
        // It waits for whoever does not take what it tells.
        master.notifications.forget();
        signal(one, Signal::KILL);
        killed += 1;
        wait_until("another serves in its place", PATIENCE, || {
            let now = workers(host);
            now.len() == WORKERS && !now.contains(&one)
        });
    }
    load.go_on(u64::from(CLIENTS));
    let sum = load.stop();
    tell(host, &format!("{killed} workers"), &sum);
    assert!(sum.failed() <= killed * u64::from(CLIENTS), "{killed} workers killed: {sum}");
    // A handshake that a killed one was at is refused; who comes later goes to others.
    let refused = sum.failures.iter().filter(|(why, _)| why.starts_with("connect:"));
    assert!(refused.map(|(_, count)| count).sum::<u64>() <= killed, "{killed} workers killed: {sum}");
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
