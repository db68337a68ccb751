//! Commands beside a daemon: they go by its socket, so that members of a group manage services without being root.

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::netns::Netns;
use wocut_tests::serve::Serve;
use wocut_tests::user::User;
use wocut_tests::wocut::{self, Outcome};

/// Groups that every Debian has.
const GROUPS: &str = "--group games --write-group daemon";
const READER: &str = "games";
const WRITER: &str = "games,daemon";

/// Root's command, by the daemon's socket.
#[track_caller]
fn by_socket(host: &Host, serve: &Serve, arguments: &str) -> Outcome {
    let socket = format!("WOCUT_SOCKET={}", serve.path("api.sock").display());
    host.wocut_under(&["env", &socket], &wocut_tests::host::words(arguments))
}

engines! { member_of_the_group_manages_services: ebpf tc nft }
fn member_of_the_group_manages_services(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    let serve = Serve::start(&host, "", GROUPS);
    let user = User::of(&host, &serve, WRITER);

    let attach = user.wocut(&host.attach_line("web 80/tcp to 8001 8002"));
    let word = engine.word();
    assert_eq!(attach.ok().stdout, format!("attached web: 80/tcp to 8001 8002, engine {word}\n"));
    host.burst_both(200).no_failure().only(&[8001, 8002]);
    user.wocut("add web 8003").ok();
    user.wocut("weight web 8003 3").ok();
    user.wocut("drain web 8001").ok();
    host.burst_both(200).no_failure().only(&[8002, 8003]);
    user.wocut("remove web 8002").ok();
    user.wocut("ready web 8001").ok();
    user.wocut("maint web 8003").ok();
    host.burst_both(200).no_failure().only(&[8001]);

    // What is printed is what root sees without the daemon.
    for look in ["status --json", "status web", "list", "list --json", "stats --json", "export"] {
        assert_eq!(user.wocut(look).ok().stdout, host.wocut(look).ok().stdout, "{look}");
    }
    for wrong in ["status db", "add web 8001*2", "weight web 8009 1", "remove web 8001 8003", "ready db 1"] {
        for json in ["", " --json"] {
            let (mine, roots) =
                (user.wocut(&format!("{wrong}{json}")), host.wocut(&format!("{wrong}{json}")));
            assert_eq!((mine.code, &mine.stderr), (roots.code, &roots.stderr), "{wrong}");
            assert!(mine.code != Some(0), "{mine}");
        }
    }
    let again = |force| host.attach_line(&format!("web 81/tcp to 8001 8002{force}"));
    user.wocut(&again("")).code(5).says("`--force` puts");
    let rehearsed = user.wocut(&again(" --force --dry-run")).ok().clone();
    assert_eq!(rehearsed.stdout, host.wocut(&again(" --force --dry-run")).ok().stdout);
    host.has_instances("web", &[8001, 8003]);

    user.wocut("detach --all").ok();
    assert!(!host.lan.server.state().exists());
    let who = format!("who=api: uid {}", User::UID);
    for line in ["attached web", "added 8003 to web", "web/8003 has weight 3", "detached web"] {
        let log = serve.log();
        let is_logged = |logged: &str| logged.contains(&who) && logged.contains(line);
        assert!(log.lines().any(is_logged), "{line}: {log}");
    }
}

engines! { member_of_the_group_waits_for_the_last_connection: ebpf nft }
fn member_of_the_group_waits_for_the_last_connection(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let serve = Serve::start(&host, "", GROUPS);
    let user = User::of(&host, &serve, WRITER);
    user.wocut(&host.attach_line("web 80/tcp to 8001 8002")).ok();
    let held = Held::open_on_each(&host.lan.client, host.lan.at(Family::V4, SERVICE), &[8001, 8002]);
    let (gone, mut others): (Vec<_>, Vec<_>) =
        held.into_iter().partition(|held| held.answer.instance == 8001);

    let rehearsed = user.wocut("remove web 8001 --wait 1h --dry-run").ok().clone();
    assert_eq!(rehearsed.stdout, host.wocut("remove web 8001 --wait 1h --dry-run").ok().stdout);
    let drain = user.wocut("drain web 8001 --wait 100ms --json");
    assert_eq!(drain.code(1).json()["left"], gone.len());
    let mut remove = user.watch("remove web 8001 --wait 30s");
    assert!(remove.next().contains("drained"));
    host.burst_both(100).no_failure().only(&[8002]);
    assert!(!remove.has_ended(), "a connection is still open");
    drop(gone);
    let (code, lines) = remove.end();
    assert_eq!((code, lines.len()), (Some(0), 2), "{lines:?}");
    host.has_instances("web", &[8002]);
    others.iter_mut().for_each(Held::alive);
    // To end connections is left to root.
    user.wocut("drain web 8002 --kill").code(1).says("CAP_NET_ADMIN");
    host.burst_both(100).no_failure().only(&[8002]);
}

engines! { whoever_may_only_read_is_told_so: ebpf }
fn whoever_may_only_read_is_told_so(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let serve = Serve::start(&host, "", GROUPS);
    by_socket(&host, &serve, &host.attach_line("web 80/tcp to 8001")).ok();
    serve.says("who=api: uid 0");
    let reader = User::of(&host, &serve, READER);
    assert_eq!(reader.wocut("status web --json").ok().json()["services"][0]["name"], "web");
    for change in ["add web 8002", "detach --all", "drain web 8001 --wait 1s"] {
        reader.wocut(change).code(1).says("the daemon refuses").says("user 65534").says("--write-group");
    }
    host.has_instances("web", &[8001]);

    // Who does not get to the socket is told what anybody is told who is not root.
    let stranger = User::of(&host, &serve, "nogroup");
    stranger.wocut("add web 8002").code(1).says("run it as root");
    host.has_instances("web", &[8001]);
}

engines! { command_goes_on_alone_where_no_daemon_works: ebpf }
fn command_goes_on_alone_where_no_daemon_works(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let mut serve = Serve::start(&host, "", GROUPS);
    by_socket(&host, &serve, &host.attach_line("web 80/tcp to 8001")).ok();
    serve.says("who=api: uid 0");

    // In another network namespace, that daemon has nothing to say.
    let other = Netns::new("other");
    let socket = format!("WOCUT_SOCKET={}", serve.path("api.sock").display());
    let there = |arguments: &str| {
        let command = wocut::command(Some(&other), None, &["env", &socket]);
        wocut::run(command, &wocut_tests::host::words(arguments))
    };
    assert_eq!(there("list --json").ok().json()["services"], serde_json::json!([]));
    there(&host.attach_line("db 81/tcp to 8002")).ok();
    host.has_instances("web", &[8001]);
    assert!(!serve.log().contains("db"), "{}", serve.log());
    there("detach --all").ok();
    let name = format!("--netns {} add web 8002", host.lan.server.name());
    by_socket(&host, &serve, &name).ok();
    serve.says("who=another command");

    // Its socket stays behind.
    serve.kill();
    by_socket(&host, &serve, "remove web 8001").ok();
    host.burst_both(100).no_failure().only(&[8002]);
}
