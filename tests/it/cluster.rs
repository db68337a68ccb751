//! `wocut cluster`: as many workers as are wanted, whatever becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::Value;
use wocut_tests::commands::Commands;
use wocut_tests::container::Container;
use wocut_tests::crowd::Crowd;
use wocut_tests::daemon::Daemon;
use wocut_tests::emulated::limit;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::figures::note;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::must::{Must as _, check};
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::processes::{only_processes, processes, signal};
use wocut_tests::requests::{Ends, Name, Requests, ask};
use wocut_tests::rules::saved_rules;
use wocut_tests::sources::{gather, member};
use wocut_tests::wait::wait_until;
use wocut_tests::wrapper::Wrapper;

/// How long workers have to start, or to be replaced.
const PATIENCE: Duration = Duration::from_secs(30);

/// A worker, as its master sees it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Worker {
    index: u64,
    port: u64,
    id: u32,
    generation: u64,
}

/// The workers that serve; none where there is no cluster.
fn serving(host: &Host) -> Vec<Worker> {
    let status = host.wocut("cluster status web --json");
    let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    let workers = status["workers"].as_array().cloned().unwrap_or_default();
    let number = |worker: &Value, field: &str| worker[field].as_u64().must(field);
    let read = |worker: &Value| Worker {
        index: number(worker, "index"),
        port: number(worker, "port"),
        id: number(worker, "pid").try_into().must("read a process"),
        generation: number(worker, "generation"),
    };
    workers.iter().filter(|worker| worker["state"] == "serving").map(read).collect()
}

/// Waits until so many workers serve, none of which is one of these.
#[track_caller]
fn serve_anew(host: &Host, count: usize, before: &[Worker]) -> Vec<Worker> {
    let old: BTreeSet<u32> = before.iter().map(|worker| worker.id).collect();
    let mut found = Vec::new();
    wait_until(&format!("{count} workers serve"), PATIENCE, || {
        found = serving(host);
        found.len() == count && found.iter().all(|worker| !old.contains(&worker.id))
    });
    found
}

/// Starts a cluster and waits until all its workers serve.
#[track_caller]
fn start(host: &Host, arguments: &str, count: usize, command: &[String]) -> Wrapper {
    let arguments = format!("cluster web --listen 80/tcp --output inherit -n {count} {arguments}");
    let master = Wrapper::start(host, &arguments, command);
    serve_anew(host, count, &[]);
    master
}

/// Ends the cluster: nothing of it is left.
#[track_caller]
fn stop(host: &Host, master: &mut Wrapper, rules: &str) {
    host.wocut("cluster stop web").ok();
    assert_eq!(master.end(), Some(0), "{}", master.log());
    only_processes(&host.lan.server, &[]);
    host.has_only(rules);
}

/// Who takes so many connections.
#[track_caller]
fn who(host: &Host, connections: usize) -> BTreeSet<Name> {
    ask(&host.lan.client, Ends::near(&host.lan), "/", connections).into_iter().collect()
}

/// Runs a command, and looks on: at no moment do fewer workers serve.
#[track_caller]
fn never_below(host: &Host, least: usize, command: &str) {
    let mut running = host.start(command);
    while !running.has_ended() {
        let (serving, ready) = (serving(host), host.ready("web"));
        check(serving.len() >= least && ready.len() >= least, || format!("{serving:?} serve, {ready:?}"));
    }
    assert_eq!(running.wait(), Some(0), "{command}");
}

/// The CPUs that a worker may use.
fn cpus_of(worker: Option<&Worker>) -> String {
    let id = worker.must("find a worker").id;
    let status = fs::read_to_string(format!("/proc/{id}/status")).must("look at a worker");
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    cpus.must("find its CPUs").trim().to_owned()
}

engines! { every_worker_has_a_number_and_a_port_of_its_own: ebpf nft }
fn every_worker_has_a_number_and_a_port_of_its_own(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "--policy round-robin --pin", 4, &commands.python("v{port}"));
    let found = who(&host, 100);
    let names = |one: fn(&Name) -> u64| found.iter().map(one).collect::<BTreeSet<_>>();
    let workers = serving(&host);
    let shown = |one: fn(&Worker) -> u64| workers.iter().map(one).collect::<BTreeSet<_>>();
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(shown(|worker| worker.index), (0..4).collect());
    assert_eq!(names(|name| name.worker.must("have a number").into()), shown(|worker| worker.index));
    assert_eq!(names(|name| name.port.into()), shown(|worker| worker.port));
    assert_eq!(names(|name| name.id.into()), shown(|worker| worker.id.into()));
    assert!(found.iter().all(|name| name.version == format!("v{}", name.port)), "{found:?}");
    assert!(workers.iter().all(|worker| (40400..=40499).contains(&worker.port)), "{workers:?}");
    let cpus: Vec<String> =
        (0..4).map(|index| cpus_of(workers.iter().find(|it| it.index == index))).collect();
    let most = thread::available_parallelism().must("count CPUs").get().min(4);
    assert!(cpus.iter().all(|cpu| cpu.parse::<u32>().is_ok()), "{cpus:?}");
    assert_eq!(cpus.iter().collect::<BTreeSet<_>>().len(), most, "{cpus:?}");
    stop(&host, &mut master, &rules);
}

engines! { worker_that_ends_is_started_again: ebpf nft }
fn worker_that_ends_is_started_again(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "", 3, &commands.python("v1"));
    for path in ["/exit/0", "/exit/7"] {
        let before = serving(&host);
        let ended = ask(&host.lan.client, Ends::near(&host.lan), path, 1).remove(0);
        let mut after = Vec::new();
        wait_until("another serves in its place", PATIENCE, || {
            after = serving(&host);
            after.len() == 3 && after.iter().all(|worker| worker.id != ended.id)
        });
        let numbers = |workers: &[Worker]| workers.iter().map(|worker| worker.index).collect::<BTreeSet<_>>();
        assert_eq!(numbers(&after), numbers(&before));
        let others = before.iter().filter(|worker| worker.id != ended.id);
        assert!(others.clone().count() == 2 && others.clone().all(|worker| after.contains(worker)));
        assert!(who(&host, 100).iter().all(|name| name.id != ended.id));
    }
    stop(&host, &mut master, &rules);
}

engines! { reload_loses_no_request_and_one_worker_at_a_time: ebpf nft }
fn reload_loses_no_request_and_one_worker_at_a_time(engine: Engine) {
    need!(tool("node"));
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "", 4, &commands.node("v1"));
    let load = Requests::remote(&host.lan, 500);
    let first = serving(&host);
    never_below(&host, 3, "cluster reload web");
    let second = serve_anew(&host, 4, &first);
    assert!(second.iter().all(|worker| worker.generation > first[0].generation), "{first:?} {second:?}");
    master.signal(Signal::HUP);
    let third = serve_anew(&host, 4, &second);
    load.go_on(500);
    load.stop().no_failure();
    let ids = [master.id()].into_iter().chain(third.iter().map(|worker| worker.id)).collect::<Vec<_>>();
    only_processes(&host.lan.server, &ids);
    stop(&host, &mut master, &rules);
}

engines! { number_of_workers_changes_under_load_and_no_request_is_lost: ebpf nft }
fn number_of_workers_changes_under_load_and_no_request_is_lost(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "", 8, &commands.python("v1"));
    let load = Requests::remote(&host.lan, 100);
    for count in [2, 16] {
        let before = serving(&host);
        host.wocut(&format!("cluster scale {count} web")).ok();
        let after = serving(&host);
        let kept = before.iter().filter(|worker| after.contains(worker)).count();
        assert_eq!((after.len(), kept), (count, count.min(before.len())), "{before:?} {after:?}");
        only_processes(
            &host.lan.server,
            &[master.id()].into_iter().chain(after.iter().map(|worker| worker.id)).collect::<Vec<_>>(),
        );
        load.go_on(500);
    }
    load.stop().no_failure();
    assert_eq!(who(&host, 400).len(), 16);
    stop(&host, &mut master, &rules);
}

engines! { sticky_client_stays_with_its_worker: ebpf nft }
fn sticky_client_stays_with_its_worker(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "--policy sticky", 4, &commands.python("v1"));
    assert_eq!(who(&host, 100).len(), 1);
    let crowd = Crowd::behind(&host.lan);
    let worker_of = |client: u16| {
        let own = Some(crowd.address(Family::V4, client));
        let ends = Ends { own, to: host.lan.at(Family::V4, SERVICE) };
        let names: BTreeSet<Name> = ask(&host.lan.client, ends, "/", 5).into_iter().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        names.into_iter().next()
    };
    let all = || (0..40).map(worker_of).map(|name| name.must("have a worker")).collect::<Vec<_>>();
    let before = all();
    assert!(before.iter().collect::<BTreeSet<_>>().len() > 1);
    // Nobody else's clients move when a worker ends, and its own are with the next one of its number.
    let ended = before[0].id;
    signal(ended, Signal::KILL);
    wait_until("another serves in its place", PATIENCE, || {
        let now = serving(&host);
        now.len() == 4 && now.iter().all(|worker| worker.id != ended)
    });
    for (old, new) in before.iter().zip(all()) {
        assert_eq!((new.worker, new.id == old.id), (old.worker, old.id != ended), "{old:?} {new:?}");
    }
    let before = serving(&host);
    let first = all();
    host.wocut("cluster reload web").ok();
    serve_anew(&host, 4, &before);
    let numbers = |names: &[Name]| names.iter().map(|name| name.worker).collect::<Vec<_>>();
    assert_eq!(numbers(&all()), numbers(&first));
    stop(&host, &mut master, &rules);
}

engines! { clients_of_one_prefix_share_a_worker: ebpf nft }
fn clients_of_one_prefix_share_a_worker(engine: Engine) {
    const NETWORKS: u16 = 40;
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    gather(&host.lan);
    let commands = Commands::new();
    let mut master = start(&host, "--policy sticky --sticky-prefix 24,64", 3, &commands.python("v1"));
    for family in [Family::V4, Family::V6] {
        let to = host.lan.at(family, SERVICE);
        let worker_of = |network, client| {
            let ends = Ends { own: Some(member(family, network, client)), to };
            ask(&host.lan.client, ends, "/", 1).pop().must("have a worker")
        };
        let workers = (0..NETWORKS).map(|network| {
            let theirs: BTreeSet<Name> = [1, 77, 254].map(|client| worker_of(network, client)).into();
            assert_eq!(theirs.len(), 1, "{family:?} {network}: {theirs:?}");
            theirs
        });
        assert_eq!(workers.collect::<BTreeSet<_>>().len(), 3, "{family:?}");
    }
    stop(&host, &mut master, &rules);
}

engines! { long_request_lives_through_a_reload: ebpf nft }
fn long_request_lives_through_a_reload(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "", 3, &commands.python("v1"));
    let begun = Ends::near(&host.lan).begin(&host.lan.client);
    let before = serving(&host);
    master.signal(Signal::HUP);
    serve_anew(&host, 3, &before);
    assert!(who(&host, 50).iter().all(|name| before.iter().all(|worker| worker.id != name.id)));
    let name = begun.name.clone();
    assert_eq!(begun.finish().must("have a long request answered"), name);
    wait_until("the retired worker ends", PATIENCE, || processes(&host.lan.server).len() == 4);
    stop(&host, &mut master, &rules);
}

engines! { retired_worker_is_killed_when_told_and_when_its_time_is_over: ebpf nft }
fn retired_worker_is_killed_when_told_and_when_its_time_is_over(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    for timeout in ["60s", "500ms"] {
        let mut master = start(&host, &format!("--retire-timeout {timeout}"), 2, &commands.python("v1"));
        let begun = Ends::near(&host.lan).begin(&host.lan.client);
        let before = serving(&host);
        master.signal(Signal::HUP);
        let after = serve_anew(&host, 2, &before);
        if timeout == "60s" {
            assert!(processes(&host.lan.server).contains_key(&begun.name.id));
            master.signal(Signal::USR1);
        }
        only_processes(&host.lan.server, &[master.id(), after[0].id, after[1].id]);
        assert!(begun.finish().is_err());
        stop(&host, &mut master, &rules);
    }
}

/// Whether there are groups that tell what is in memory: not where version 1 has that controller.
fn groups_count_memory() -> bool {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new).into_iter();
    let controllers = |root: &Path| fs::read_to_string(root.join("cgroup.controllers")).ok();
    roots.filter_map(controllers).any(|names| names.split_whitespace().any(|name| name == "memory"))
}

/// Whether a worker is in a group that has its number.
fn has_own_group(worker: &Worker) -> bool {
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", worker.id)).must("read a worker's groups");
    groups.lines().any(|line| line.starts_with("0::") && line.contains(&format!("/web-{}-", worker.index)))
}

engines! { worker_that_leaks_is_replaced_and_no_request_is_lost: ebpf nft }
fn worker_that_leaks_is_replaced_and_no_request_is_lost(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "--memory 64M --retire-nice 1", 2, &commands.python("v1"));
    let load = Requests::remote(&host.lan, 16);
    let before = serving(&host);
    assert!(before.iter().all(|worker| has_own_group(worker) == groups_count_memory()), "{before:?}");
    let leaks = |name: &Name| before[0].id == name.id;
    let ask_leaker =
        || ask(&host.lan.client, Ends::near(&host.lan), "/leak", 1).iter().filter(|one| leaks(one)).count();
    let mut megabytes = 0;
    wait_until("a worker leaks", PATIENCE, || {
        megabytes += 10 * ask_leaker();
        megabytes >= 80 || serving(&host).iter().all(|worker| worker.id != before[0].id)
    });
    wait_until("it is replaced", PATIENCE, || {
        let now = serving(&host);
        now.len() == 2 && now.iter().all(|worker| worker.id != before[0].id)
    });
    load.go_on(200);
    load.stop().no_failure();
    wait_until("it ends", PATIENCE, || !processes(&host.lan.server).contains_key(&before[0].id));
    stop(&host, &mut master, &rules);
}

/// How nice a process is: `proc_pid_stat(5)`.
fn niceness(id: u32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse().ok()
}

engines! { fattest_worker_is_replaced_before_all_use_too_much: ebpf nft }
fn fattest_worker_is_replaced_before_all_use_too_much(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let arguments = "--policy sticky --total-memory 200M --retire-nice 7";
    let mut master = start(&host, arguments, 2, &commands.python("v1"));
    let load = Requests::remote(&host.lan, 16);
    let begun = Ends::near(&host.lan).begin(&host.lan.client);
    let (leaker, before) = (begun.name.id, serving(&host));
    let leaks = ask(&host.lan.client, Ends::near(&host.lan), "/leak", 19);
    assert!(leaks.iter().take(10).all(|name| name.id == leaker), "{leaks:?}");
    let mut after = Vec::new();
    wait_until("it is replaced", PATIENCE, || {
        after = serving(&host);
        after.len() == 2 && after.iter().all(|worker| worker.id != leaker)
    });
    assert!(
        master.log().contains("all workers use too much memory, and it uses the most"),
        "{}",
        master.log()
    );
    let kept = before.iter().filter(|worker| after.contains(worker)).count();
    assert_eq!(kept, 1, "{before:?} {after:?}");
    wait_until("it is nice", PATIENCE, || niceness(leaker) == Some(7));
    let name = begun.name.clone();
    assert_eq!(begun.finish().must("have a request answered"), name);
    load.go_on(200);
    load.stop().no_failure();
    wait_until("it ends", PATIENCE, || !processes(&host.lan.server).contains_key(&leaker));
    stop(&host, &mut master, &rules);
}

engines! { worker_that_hangs_is_taken_out_by_its_watchdog: ebpf nft }
fn worker_that_hangs_is_taken_out_by_its_watchdog(engine: Engine) {
    let stop_one = |_: &Host, workers: &[Worker]| {
        signal(workers[0].id, Signal::STOP);
        workers[0].id
    };
    watchdog_takes_out(engine, stop_one);
}

engines! { worker_that_spins_is_taken_out_by_its_watchdog: ebpf nft }
fn worker_that_spins_is_taken_out_by_its_watchdog(engine: Engine) {
    watchdog_takes_out(engine, |host, _| ask(&host.lan.client, Ends::near(&host.lan), "/spin", 1)[0].id);
}

/// One of three workers, by its process, goes the way of `hang`.
fn watchdog_takes_out(engine: Engine, hang: impl Fn(&Host, &[Worker]) -> u32) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "--watchdog 2s", 3, &commands.python("v1 watchdog"));
    let before = serving(&host);
    let id = hang(&host, &before);
    let (hung, others): (Vec<Worker>, Vec<Worker>) = before.into_iter().partition(|worker| worker.id == id);
    let port = u16::try_from(hung[0].port).must("read a port");
    let since = Instant::now();
    wait_until("it is out", Duration::from_secs(8), || {
        serving(&host).iter().all(|worker| worker.id != id) && !host.ready("web").contains(&port)
    });
    note(format_args!("{engine:?}: out after {} ms", since.elapsed().as_millis()));
    assert!(who(&host, 50).iter().all(|name| name.id != id));
    wait_until("another serves in its place", PATIENCE, || serving(&host).len() == 3);
    wait_until("it is gone", PATIENCE, || !processes(&host.lan.server).contains_key(&id));
    assert!(others.iter().all(|worker| serving(&host).contains(worker)), "{others:?}");
    stop(&host, &mut master, &rules);
}

engines! { worker_that_takes_its_time_to_come_up_does_not_hang: ebpf }
fn worker_that_takes_its_time_to_come_up_does_not_hang(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "--watchdog 2s", 2, &commands.python("v1 slow"));
    let before = serving(&host);
    wait_until("each has said four times that it lives", Duration::from_secs(10), || {
        let status = host.wocut("cluster status web --json").stdout;
        let status: Value = serde_json::from_str(&status).must("read the status");
        let said = |worker: &Value| worker["status"].as_str().and_then(|said| said.parse::<u32>().ok());
        let workers = status["workers"].as_array().must("have workers");
        workers.iter().all(|worker| said(worker) >= Some(4))
    });
    assert_eq!(serving(&host), before);
    stop(&host, &mut master, &rules);
}

engines! { worker_that_cannot_be_drained_serves_until_it_can: legacy }
fn worker_that_cannot_be_drained_serves_until_it_can(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let arguments = "--retire-timeout 500ms --watchdog 3s";
    let mut master = start(&host, arguments, 2, &commands.python("v1 slow"));
    let before = serving(&host);
    let load = Requests::remote(&host.lan, 8);
    // As somebody has it who changes rules, and takes longer than iptables waits.
    let lock = fs::File::create("/run/xtables.lock").must("open the lock of iptables");
    flock(&lock, FlockOperation::LockExclusive).must("take the lock of iptables");
    let scale = host.start("cluster scale 1 web");
    let failures = |log: &str| log.matches("cannot drain workers").count();
    wait_until("the master says so, and again", PATIENCE, || failures(&master.log()) >= 2);
    let live = processes(&host.lan.server);
    assert!(before.iter().all(|worker| live.contains_key(&worker.id)), "{live:?}");
    load.go_on(200);
    drop(lock);
    assert_eq!(scale.wait(), Some(0));
    wait_until("one has ended", PATIENCE, || processes(&host.lan.server).len() == 2);
    load.go_on(200);
    load.stop().no_failure();
    // It could not hear them while it waited for iptables.
    assert!(!master.log().contains("watchdog"), "{}", master.log());
    stop(&host, &mut master, &rules);
}

engines! { workers_outlive_their_master_and_the_next_one_retires_them: ebpf nft }
fn workers_outlive_their_master_and_the_next_one_retires_them(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut first = start(&host, "", 3, &commands.python("v1"));
    let before = serving(&host);
    let ids = before.iter().map(|worker| worker.id).collect::<Vec<_>>();
    let load = Requests::remote(&host.lan, 32);
    first.kill();
    load.go_on(500);
    only_processes(&host.lan.server, &ids);
    let mut second =
        Wrapper::start(&host, "cluster web --listen 80/tcp --output inherit -n 3", &commands.python("v2"));
    let after = serve_anew(&host, 3, &before);
    only_processes(&host.lan.server, &[second.id(), after[0].id, after[1].id, after[2].id]);
    load.go_on(100);
    load.stop().no_failure();
    assert!(who(&host, 50).iter().all(|name| name.version == "v2"));
    stop(&host, &mut second, &rules);
}

engines! { next_master_in_a_container_adopts_the_workers_of_the_one_before: ebpf nft }
fn next_master_in_a_container_adopts_the_workers_of_the_one_before(engine: Engine) {
    need!(tool("unshare"));
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let container = Container::new(&host.lan.server);
    let start = |version: &str| {
        let arguments = "cluster web --listen 80/tcp --output inherit -n 3";
        Wrapper::under(&host, &container.within(engine), arguments, &commands.python(version))
    };
    let of = |version: &str| {
        let is_one = |line: &&String| line.contains(version) && !line.contains("--listen");
        processes(&host.lan.server).values().filter(is_one).count()
    };
    let mut first = start("v1");
    let before = serve_anew(&host, 3, &[]);
    let load = Requests::remote(&host.lan, 32);
    first.kill_within(&host);
    load.go_on(200);
    assert_eq!(of("v1"), 3);
    let mut second = start("v2");
    serve_anew(&host, 3, &before);
    wait_until("those of the one before have ended", PATIENCE, || of("v1") == 0);
    assert_eq!(of("v2"), 3);
    load.go_on(100);
    load.stop().no_failure();
    assert!(who(&host, 50).iter().all(|name| name.version == "v2"));
    host.wocut("cluster stop web").ok();
    assert_eq!(second.end(), Some(0), "{}", second.log());
    assert_eq!(of("v2"), 0);
    host.has_only(&rules);
}

/// The limits of open files: what holds, and how far it may be raised.
fn open_files(id: u32) -> Vec<u64> {
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).must("read the limits");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    files.must("find the limit").split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

engines! { master_has_as_many_files_open_as_its_workers_need_and_they_what_there_was_before: ebpf }
fn master_has_as_many_files_open_as_its_workers_need_and_they_what_there_was_before(engine: Engine) {
    need!(tool("prlimit"));
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let arguments = "cluster web --listen 80/tcp -n 12";
    let mut master =
        Wrapper::under(&host, &["prlimit", "--nofile=48:4096"], arguments, &commands.python("v1"));
    let workers = serve_anew(&host, 12, &[]);
    let open = fs::read_dir(format!("/proc/{}/fd", master.id())).must("read what is open").count();
    assert!(open > 48, "{open}");
    assert_eq!(open_files(master.id()), [4096, 4096]);
    assert!(workers.iter().all(|worker| open_files(worker.id) == [48, 4096]));
    stop(&host, &mut master, &rules);
}

engines! { workers_of_a_master_that_is_gone_are_ended_by_a_release: ebpf nft }
fn workers_of_a_master_that_is_gone_are_ended_by_a_release(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "", 2, &commands.python("v1"));
    master.kill();
    host.wocut("run --release web").ok();
    only_processes(&host.lan.server, &[]);
    host.has_only(&rules);
}

engines! { master_listens_while_many_workers_start: ebpf nft }
fn master_listens_while_many_workers_start(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let server = commands.python("v1").join(" ");
    let script = format!("[ $WOCUT_WORKER = 0 ] && exec {server}; exec sleep 600");
    let command = ["sh".to_owned(), "-c".to_owned(), script];
    let mut master = start(&host, "--ports 40000-41999", 1, &command);
    let scale = host.start("cluster scale 1000 web");
    let started =
        |host: &Host| host.wocut("cluster status web --json").ok().stdout.matches("\"starting\"").count();
    wait_until("many are to start", PATIENCE, || started(&host) > 900);
    let start = Instant::now();
    host.wocut("cluster status web").ok();
    let answered = start.elapsed();
    host.wocut("cluster stop web").ok();
    note(format_args!("{engine:?}: answers after {answered:?}, stops after {:?}", start.elapsed()));
    assert!(answered < limit(Duration::from_secs(2)), "{answered:?}");
    assert_eq!(scale.wait(), Some(1));
    assert_eq!(master.end(), Some(0), "{}", master.log());
    only_processes(&host.lan.server, &[]);
    host.has_only(&rules);
}

engines! { lines_of_workers_have_a_prefix_also_when_the_master_is_killed: ebpf }
fn lines_of_workers_have_a_prefix_also_when_the_master_is_killed(engine: Engine) {
    let host = Host::new(engine);
    let script = "import os, socket, sys
s = socket.create_server(('', int(os.environ['PORT'])))
while True:
    c = s.accept()[0]
    print('asked', flush=True)
    c.close()";
    let command = ["python3", "-c", script].map(str::to_owned);
    let mut master = Wrapper::start(&host, "cluster web --listen 80/tcp -n 1", &command);
    serve_anew(&host, 1, &[]);
    let lines = |master: &Wrapper| master.log().matches("web[0]: asked\n").count();
    let ask = || drop(host.lan.client.run(|| TcpStream::connect(host.lan.at(Family::V4, SERVICE))));
    ask();
    wait_until("a line is passed on", PATIENCE, || lines(&master) == 1);
    master.kill();
    ask();
    wait_until("a line is passed on", PATIENCE, || lines(&master) == 2);
    let mut next = Wrapper::start(&host, "cluster web --listen 80/tcp -n 1 --replace", &command);
    wait_until("the worker is replaced", PATIENCE, || serving(&host).iter().any(|it| it.generation > 1));
    host.wocut("cluster stop web").ok();
    assert_eq!(next.end(), Some(0), "{}", next.log());
    only_processes(&host.lan.server, &[]);
}

engines! { master_that_is_replaced_goes_and_no_request_is_lost: ebpf nft }
fn master_that_is_replaced_goes_and_no_request_is_lost(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut first = start(&host, "", 3, &commands.python("v1"));
    let before = serving(&host);
    let load = Requests::remote(&host.lan, 32);
    let arguments = "cluster web --listen 80/tcp --output inherit -n 3 --replace";
    // One that could not start anybody leaves the first one where it is.
    let mut absent = Wrapper::start(&host, arguments, &["/absent/server".to_owned()]);
    assert_eq!(absent.end(), Some(1), "{}", absent.log());
    assert_eq!(serving(&host), before);
    let mut second = Wrapper::start(&host, arguments, &commands.python("v2"));
    assert_eq!(first.end(), Some(0), "{}", first.log());
    let after = serve_anew(&host, 3, &before);
    only_processes(&host.lan.server, &[second.id(), after[0].id, after[1].id, after[2].id]);
    load.go_on(200);
    load.stop().no_failure();
    assert!(who(&host, 50).iter().all(|name| name.version == "v2"));
    stop(&host, &mut second, &rules);
}

/// Everything that wocut keeps and has changed, and who runs.
fn kept(host: &Host) -> (String, String, bool, BTreeMap<u32, String>) {
    let state = fs::read_to_string(host.lan.server.state()).unwrap_or_default();
    (state, saved_rules(host), host.lan.server.pins().exists(), processes(&host.lan.server))
}

engines! { cluster_that_cannot_be_kept_is_refused_and_changes_nothing: ebpf nft }
fn cluster_that_cannot_be_kept_is_refused_and_changes_nothing(engine: Engine) {
    let host = Host::with_firewall(engine);
    let commands = Commands::new();
    let _daemons = Daemon::pythons(&host.lan.server, [8001, 40400, 40401]);
    host.attach("api 81/tcp to 8001");
    let before = kept(&host);
    let server = commands.python("v1");
    let text = commands.path().join("web.py").display().to_string();
    let (absent, text, unnamed) = (["/absent/server".to_owned()], [text], ["absent-server".to_owned()]);
    let cases: [(&str, &[String], i32, &str); 14] = [
        ("web --listen 80/tcp -n 2", &absent, 1, "/absent/server"),
        ("web --listen 80/tcp -n 2", &unnamed, 1, "absent-server"),
        ("web --listen 80/tcp -n 2", &text, 1, "web.py"),
        ("web --listen 80/tcp -n 2", &[], 2, ""),
        ("api --listen 81/tcp -n 2", &server, 5, "api"),
        ("web --listen 81/tcp -n 2", &server, 5, "81/tcp"),
        ("web --listen 80/tcp -n 2 --ports 40400-40401", &server, 1, "40400-40401"),
        ("web --listen 80/tcp -n 3 --ports 40400-40403", &server, 1, "only 2 ports of 40400-40403"),
        ("web --listen 80/tcp -n 3 --ports 41000-41001", &server, 2, "41000-41001"),
        ("web --listen 80/tcp -n 1025 --ports 41000-43000", &server, 2, "1024"),
        ("web --listen 80/tcp -n 2 --ports 40499-40400", &server, 2, "40499-40400"),
        ("web --listen 80/tcp -n 2 --check fine", &server, 2, "fine"),
        ("web --listen 80/tcp -n 2 --watchdog 0s", &server, 2, "1ms"),
        ("web --listen 80/tcp -n 2 --retire-timeout 18446744073709551615s", &server, 2, "100 years"),
    ];
    for (arguments, command, code, words) in cases {
        let start = Instant::now();
        let mut master = Wrapper::start(&host, &format!("cluster {arguments}"), command);
        let (ended, took, log) = (master.end(), start.elapsed(), master.log());
        assert_eq!(ended, Some(code), "{arguments}: {log}");
        assert!(took < limit(Duration::from_secs(2)), "{arguments}: {took:?}: {log}");
        assert!(log.contains("error") && log.contains(words), "{arguments}: {log}");
        assert!(!master.notifications.has("READY=1"), "{arguments}: {log}");
        assert_eq!(kept(&host), before, "{arguments}: {log}");
    }
}

engines! { cluster_whose_workers_do_not_come_up_ends_with_an_error: ebpf nft }
fn cluster_whose_workers_do_not_come_up_ends_with_an_error(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let arguments = "--check http:/healthz --ready-timeout 1s --give-up 2";
    for behaviour in ["crash", "sick"] {
        let arguments = format!("cluster web --listen 80/tcp --output inherit -n 2 {arguments}");
        let command = commands.python(&format!("v1 {behaviour}"));
        let mut master = Wrapper::start(&host, &arguments, &command);
        assert_eq!(master.end(), Some(1), "{behaviour}: {}", master.log());
        let given_up = master.log().matches("failed too often, the last time").count();
        assert!(given_up == 2 && master.log().contains("error"), "{behaviour}: {}", master.log());
        assert!(!master.notifications.has("READY=1"), "{behaviour}");
        only_processes(&host.lan.server, &[]);
        host.has_only(&rules);
    }
}

engines! { number_of_workers_that_there_is_no_room_for_is_refused: ebpf }
fn number_of_workers_that_there_is_no_room_for_is_refused(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut master = start(&host, "--ports 40400-40409", 2, &commands.python("v1"));
    let before = serving(&host);
    host.wocut("cluster scale 11 web").code(2).says("40400-40409 has 10 ports");
    host.wocut("cluster scale 1025 web").code(2).says("1024");
    assert_eq!(serving(&host), before);
    assert_eq!(processes(&host.lan.server).len(), 3);
    stop(&host, &mut master, &rules);
}

engines! { second_master_of_one_name_is_refused: ebpf nft }
fn second_master_of_one_name_is_refused(engine: Engine) {
    let host = Host::with_firewall(engine);
    let rules = saved_rules(&host);
    let commands = Commands::new();
    let mut first = start(&host, "", 2, &commands.python("v1"));
    let before = (serving(&host), processes(&host.lan.server));
    let mut second =
        Wrapper::start(&host, "cluster web --listen 80/tcp --output inherit -n 2", &commands.python("v2"));
    assert_eq!(second.end(), Some(5), "{}", second.log());
    assert!(second.log().contains("error") && second.log().contains("web"), "{}", second.log());
    assert_eq!((serving(&host), processes(&host.lan.server)), before);
    stop(&host, &mut first, &rules);
}

engines! { client_that_has_nobody_else_to_go_to_is_refused_at_once: ebpf nft legacy }
fn client_that_has_nobody_else_to_go_to_is_refused_at_once(engine: Engine) {
    let host = Host::new(engine);
    let script = "import os, socket
s = socket.create_server(('', int(os.environ['PORT'])), family=socket.AF_INET)
while True:
    s.accept()[0].close()";
    let command = ["python3", "-c", script].map(str::to_owned);
    let mut master = start(&host, "", 2, &command);
    let connect = |to: SocketAddr| {
        let start = Instant::now();
        let refused = TcpStream::connect(to).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        assert!(start.elapsed() < limit(Duration::from_millis(900)), "{to}: {:?}", start.elapsed());
        refused
    };
    // The workers do not listen for IPv6.
    assert!(host.lan.client.run(|| connect(host.lan.at(Family::V6, SERVICE))));
    let workers = serving(&host);
    master.kill();
    signal(workers[0].id, Signal::KILL);
    wait_until("it is gone", PATIENCE, || !processes(&host.lan.server).contains_key(&workers[0].id));
    // Conntrack knows of a connection of this host before its packet comes in.
    let own = SocketAddr::new(Family::V4.loopback(), SERVICE);
    let refused = host.lan.server.run(|| (0..50).filter(|_| connect(own)).count());
    assert!(engine == Engine::Ebpf && refused == 0 || engine != Engine::Ebpf && refused < 50, "{refused}");
}
