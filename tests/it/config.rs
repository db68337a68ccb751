//! Services that files say: checked, applied, exported.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use tempfile::TempDir;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::Load;
use wocut_tests::must::Must as _;
use wocut_tests::random::Random;
use wocut_tests::rules::saved_rules;
use wocut_tests::{engines, need};

const USAGE: i32 = 2;
const CONFLICT: i32 = 5;

const PORTS: [u16; 6] = [8001, 8002, 8003, 8004, 8005, 8006];

/// A folder of configuration files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().must("make a folder for files"))
    }

    /// Writes a file, and gives its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).must("write a file");
        path.display().to_string()
    }

    /// The folder itself.
    fn folder(&self) -> String {
        self.0.path().display().to_string()
    }
}

/// One service as TOML.
fn service(name: &str, listen: &str, instances: &str) -> String {
    format!("[service.{name}]\nlisten = [\"{listen}\"]\ninstances = [{instances}]\n")
}

fn apply(host: &Host, arguments: &str) -> String {
    let outcome = host.wocut(&format!("apply --engine {} {arguments}", host.engine.word()));
    outcome.ok();
    outcome.stdout
}

/// Everything that wocut keeps for the server.
fn kept(host: &Host) -> (Option<String>, String) {
    (fs::read_to_string(host.lan.server.state()).ok(), saved_rules(host))
}

engines! { applied_under_load_breaks_nothing: ebpf nft }
fn applied_under_load_breaks_nothing(engine: Engine) {
    let host = Host::with_firewall(engine);
    let files = Files::new();
    let _daemons = Daemon::pythons(&host.lan.server, PORTS);
    apply(&host, &files.write("web.toml", &service("web", "80/tcp", "8001, 8002")));
    let load = host.load(4);
    let mut held = Vec::new();
    let mut random = Random::seeded();
    for count in 0..40 {
        let weights: BTreeMap<u16, u32> =
            PORTS.into_iter().filter_map(|port| Some((port, random.below(8).checked_sub(4)?))).collect();
        let first = random.pick(&PORTS);
        let others = weights.iter().filter(|(port, _)| **port != first);
        let instances: Vec<String> = others.map(|(port, weight)| format!("\"{port}*{weight}\"")).collect();
        let text = service("web", "80/tcp", &[vec![first.to_string()], instances].concat().join(", "));
        apply(&host, &files.write("web.toml", &text));
        let family = Family::BOTH[count % 2];
        held.push(Held::open(&host.lan.client, host.lan.at(family, SERVICE)));
        random.one_of(&mut held).alive();
        load.go_on(20);
        let with_weight = weights.into_iter().filter(|(_, weight)| *weight > 0).map(|(port, _)| port);
        let serving: Vec<u16> = with_weight.chain([first]).collect();
        host.burst(family, 50).no_failure().among(&serving);
    }
    held.iter_mut().for_each(Held::alive);
    load.stop().no_failure();
}

engines! { each_service_says_what_became_of_it: ebpf nft }
fn each_service_says_what_became_of_it(engine: Engine) {
    let host = Host::new(engine);
    let files = Files::new();
    host.attach("db 82/tcp to 8201");
    let web = files.write("web.toml", &service("web", "80/tcp", "8001, 8002"));
    let api = files.write("api.toml", &service("api", "81/tcp", "8101"));
    let both = format!("{web} {api}");
    let left = "db: left as it is: no file has it\n";
    let word = engine.word();
    assert_eq!(
        apply(&host, &both),
        format!(
            "web: attached 80/tcp to 8001 8002, engine {word}\napi: attached 81/tcp to 8101, engine {word}\n{left}"
        )
    );
    files.write("api.toml", &service("api", "81/tcp", "\"8101*2\", 8102"));
    let before = kept(&host);
    let changes = "web: as wanted\napi: changed: added 8102; 8101 has weight 2, was 1\n";
    let rehearsed = apply(&host, &format!("{both} --dry-run"));
    assert!(rehearsed.contains("would: api: changed: added 8102") && rehearsed.contains("would: db: left"));
    assert_eq!(kept(&host), before);
    assert_eq!(apply(&host, &both), format!("{changes}{left}"));
    assert_eq!(apply(&host, &both), format!("web: as wanted\napi: as wanted\n{left}"));
    assert_eq!(
        apply(&host, &format!("{} --prune", files.folder())),
        "api: as wanted\nweb: as wanted\ndb: detached\n"
    );
    let json = host.wocut(&format!("apply {both} --json"));
    assert_eq!(json.ok().json()["change"], "web: as wanted\napi: as wanted");
}

engines! { instances_that_stay_keep_their_counters_and_an_operators_drain: ebpf nft }
fn instances_that_stay_keep_their_counters_and_an_operators_drain(engine: Engine) {
    let host = Host::new(engine);
    let files = Files::new();
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    let web = files.write("web.toml", &service("web", "80/tcp", "8001, 8002"));
    apply(&host, &web);
    host.burst_both(100).no_failure();
    host.wocut("drain web 8002").ok();
    let count = |instance: &str| host.instances("web")[instance]["connections"].as_u64();
    let before = (count("8001"), count("8002"));
    assert!(before.0 > Some(0) && before.1 > Some(0), "{before:?}");
    files.write("web.toml", &service("web", "80/tcp", "8003, 8002, 8001"));
    apply(&host, &web);
    assert_eq!((count("8001"), count("8002")), before);
    assert_eq!(host.instances("web")["8002"]["admin"], "drain");
    let ready = "8003, { port = 8002, admin = \"ready\" }, { port = 8001, admin = \"drain\" }";
    files.write("web.toml", &service("web", "80/tcp", ready));
    let said = apply(&host, &web);
    assert_eq!(said, "web: changed: 8002 is ready, was drain; 8001 is drain, was ready\n");
    host.burst_both(100).no_failure().among(&[8002, 8003]);
}

engines! { one_bad_file_and_nothing_is_changed: ebpf nft }
fn one_bad_file_and_nothing_is_changed(engine: Engine) {
    let host = Host::new(engine);
    let files = Files::new();
    host.attach("db 80/tcp to 8201");
    let good = files.write("good.toml", &service("api", "81/tcp", "8101"));
    let before = kept(&host);
    for (name, text, code, message) in [
        ("typo.toml", "[service.web]\nlistne = [\"83/tcp\"]\n", USAGE, "did you mean `listen`?"),
        ("text.toml", "[service.web\n", USAGE, "text.toml:1:"),
        ("twice.toml", &service("api", "83/tcp", "8102"), USAGE, "good.toml:1:10 already"),
        ("loop.toml", &service("web", "83/tcp", "83"), USAGE, "the service's own port"),
        ("port.toml", &service("web", "81/tcp", "8001"), CONFLICT, "listens on 81/tcp already"),
        (
            "attached.toml",
            &service("web", "80/tcp", "8001"),
            CONFLICT,
            "service `db` listens on 80/tcp already",
        ),
        ("a.b.wocut", "proto: tcp\ninport: 83\nmarkports: [8001]\n", USAGE, "is not a name"),
        ("web.wocut", "proto: tcp\ninport: 83\nmarkports: &x [8001]\n", USAGE, "web.wocut:3:12: an anchor"),
    ] {
        let bad = files.write(name, text);
        for files in [format!("{good} {bad}"), format!("{bad} {good} --dry-run")] {
            let outcome = host.wocut(&format!("apply --engine {} {files}", engine.word()));
            outcome.code(code).says("error: ");
            assert!(outcome.stderr.contains(message) || !files.starts_with(&good), "{outcome}");
            assert_eq!(kept(&host), before, "{outcome}");
        }
    }
    host.wocut(&format!("apply {good} {}/none.toml", files.folder())).code(1).says("cannot be read");
    let empty = files.write("empty.toml", "");
    host.wocut(&format!("apply {empty} --prune")).code(USAGE).says("wocut detach --all");
    assert_eq!(kept(&host), before);
}

engines! { what_is_exported_makes_the_same_again: ebpf nft }
fn what_is_exported_makes_the_same_again(engine: Engine) {
    let host = Host::new(engine);
    let files = Files::new();
    host.attach("api 81/tcp to 8101*0 spare=8102 --on-empty reject");
    let check = "check = { type = \"http\", path = \"/healthz\", interval = \"2s\" }\n";
    let text = service("web", "80/tcp", "8001, \"8002*3\", { name = \"canary\", port = 8003, weight = 2 }");
    apply(&host, &files.write("web.toml", &format!("{text}{check}description = \"The \\\"web\\\"\"\n")));
    host.wocut("drain web canary").ok();
    let export = || host.wocut("export").ok().stdout.clone();
    let first = export();
    assert!(first.contains("admin = \"drain\"") && first.contains("/healthz"), "{first}");
    let file = files.write("all.toml", &first);
    let before = kept(&host);
    assert_eq!(host.wocut(&format!("apply {file}")).ok().stdout, "api: as wanted\nweb: as wanted\n");
    assert_eq!(kept(&host), before);
    host.wocut("detach --all").ok();
    host.wocut(&format!("apply {file}")).ok();
    assert_eq!(export(), first);
    host.wocut(&format!("check {file}")).ok();
}

engines! { files_of_the_original_serve: ebpf nft }
fn files_of_the_original_serve(engine: Engine) {
    let host = Host::new(engine);
    let files = Files::new();
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    let text = "---\nauto: 1\nblockdirect: 0\ninport: 80\nmarkports:\n  - 8001\n  - 8002\n  - 8003\nmonitor: 1\nproto: tcp\n";
    let file = files.write("apache.wocut", text);
    host.wocut(&format!("check {file}")).ok();
    let said = apply(&host, &file);
    assert_eq!(said, format!("apache: attached 80/tcp to 8001 8002 8003, engine {}\n", engine.word()));
    host.burst_both(300).no_failure().only(&[8001, 8002, 8003]);
}

engines! { check_needs_nothing_and_touches_nothing: ebpf nft }
fn check_needs_nothing_and_touches_nothing(engine: Engine) {
    let host = Host::new(engine);
    let files = Files::new();
    host.attach("db 80/tcp to 8201");
    let before = kept(&host);
    // That something else is attached there is of no interest.
    let web =
        files.write("web.toml", &(service("web", "80/tcp", "8001") + &service("api", "81/tcp", "8101")));
    let check =
        host.wocut_under(&["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"], &["check", &web]);
    assert_eq!(check.ok().stdout, format!("{web}: ok, 2 services\n"));
    files.write("rival.toml", &service("rival", "81/tcp", "8001"));
    host.wocut(&format!("check {}", files.folder())).code(CONFLICT).says("listens on 81/tcp already");
    files.write("bad.toml", "[service.web]\nlisten = [\"80/tcp\", \"x\"]\ninstances = [0]\n");
    let bad = host.wocut(&format!("check {} --json", files.folder()));
    bad.code(USAGE).says("bad.toml").says("\"line\":2").says("\"column\":21").says("\"line\":3");
    assert_eq!(bad.json()["files"][0]["errors"], 2, "{bad}");
    assert_eq!(kept(&host), before);
}

engines! { service_moves_to_the_engine_that_its_file_names: nft }
fn service_moves_to_the_engine_that_its_file_names(engine: Engine) {
    need!(Engine::Ebpf.available());
    let host = Host::new(engine);
    let files = Files::new();
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let on = |word: &str| format!("{}engine = \"{word}\"\n", service("web", "80/tcp", "8001, 8002"));
    let file = files.write("web.toml", &on("iptables"));
    host.wocut(&format!("apply {file}")).ok();
    let load = Load::start(&host.lan.client, &[host.lan.at(Family::V4, SERVICE)], 2);
    for (word, was) in [("ebpf", "iptables"), ("iptables", "ebpf"), ("ebpf", "iptables")] {
        files.write("web.toml", &on(word));
        let moved = host.wocut(&format!("apply {file}"));
        assert_eq!(moved.ok().stdout, format!("web: changed: engine is {word}, was {was}\n"));
        assert_eq!(host.service("web")["engine"], word);
        load.go_on(20);
        host.burst(Family::V6, 40).no_failure().only(&[8001, 8002]);
    }
    load.stop().no_failure();
}

engines! { killed_apply_is_finished_by_the_next_command: ebpf nft }
fn killed_apply_is_finished_by_the_next_command(engine: Engine) {
    let host = Host::with_firewall(engine);
    let files = Files::new();
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8004);
    let api = service("api", "81/tcp", "8101");
    let versions = [
        (files.write("one.toml", &service("web", "80/tcp", "8001, 8002")), &[8001, 8002]),
        (files.write("two.toml", &(service("web", "80/tcp", "8003, 8004") + &api)), &[8003, 8004]),
    ];
    let command = |file: &str| format!("apply {file} --prune --engine {}", engine.word());
    let mut took = [Duration::ZERO; 2];
    for (took, (file, _)) in took.iter_mut().zip(&versions) {
        *took = host.wocut(&command(file)).ok().took;
    }
    let load = host.load(2);
    let mut random = Random::seeded();
    for count in 0..40 {
        let (file, serving) = &versions[count % 2];
        host.start(&command(file)).kill_after(random.moment(took[count % 2]));
        if count % 4 < 2 {
            host.wocut(&command(file)).ok();
            host.burst(Family::BOTH[count % 2], 60).no_failure().only(&serving[..]);
        } else {
            // Whatever it is, it makes the kernel match what was written down: one of the two, whole.
            host.wocut("weight web nosuch 1").code(4);
            let found: Vec<String> = host.instances("web").into_keys().collect();
            let whole =
                versions.iter().find(|(_, ports)| found.iter().eq(ports.map(|port| port.to_string()).iter()));
            let (_, serving) = whole.must("find one version of the service");
            host.burst(Family::BOTH[count % 2], 60).no_failure().only(&serving[..]);
        }
    }
    load.stop().no_failure();
}
