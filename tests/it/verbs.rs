//! What holds for every verb: it can be repeated, and rehearsed.

use std::fs;

use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::{Host, words};
use wocut_tests::rules::saved_rules;

const VERBS: [&str; 8] = [
    "attach web 80/tcp to 8001 8002",
    "add web 8003",
    "weight web 8003 5",
    "drain web 8001",
    "maint web 8002",
    "ready web 8001",
    "remove web 8003",
    "detach web",
];

/// Everything that wocut keeps for the server.
fn kept(host: &Host) -> (Option<String>, String) {
    (fs::read_to_string(host.lan.server.state()).ok(), saved_rules(host))
}

engines! { every_verb_can_be_repeated: ebpf nft legacy }
fn every_verb_can_be_repeated(engine: Engine) {
    let host = Host::new(engine);
    for verb in &VERBS[..6] {
        let command = format!("{verb} --engine {}", engine.word());
        let first = host.wocut(&command);
        first.ok();
        let kept_after_first = kept(&host);
        host.wocut(&command).ok();
        assert_eq!(kept(&host), kept_after_first, "{verb}");
        let said = [first.stdout.lines().collect::<Vec<_>>(), first.stderr.lines().collect()].concat();
        assert_eq!(said.len(), 1, "one line says what changed: {first}");
    }
}

engines! { rehearsed_verb_changes_nothing: ebpf nft legacy }
fn rehearsed_verb_changes_nothing(engine: Engine) {
    // The kernel makes a table of the legacy kind when somebody looks at it. Here all are in use.
    let host = Host::with_firewall(engine);
    for verb in VERBS {
        let before = kept(&host);
        host.wocut(&format!("{verb} --dry-run --engine {}", engine.word())).ok();
        assert_eq!(kept(&host), before, "{verb}");
        host.wocut(&format!("{verb} --engine {}", engine.word())).ok();
        assert_ne!(kept(&host), before, "{verb} was not rehearsed, it does nothing");
    }
}

engines! { quiet_verb_says_nothing: ebpf nft legacy }
fn quiet_verb_says_nothing(engine: Engine) {
    let host = Host::new(engine);
    let attach = host.wocut(&format!("-q {}", host.attach_line("web 80/tcp to 8001")));
    assert_eq!((attach.code, attach.stdout.as_str(), attach.stderr.as_str()), (Some(0), "", ""));
}

engines! { namespace_can_be_named: ebpf nft legacy }
fn namespace_can_be_named(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001");
    let name = host.lan.server.name();
    for netns in [name.to_owned(), format!("/run/netns/{name}")] {
        let list = host.wocut_outside(&["--netns", &netns, "list", "--json"]).ok().json();
        assert!(list.to_string().contains("\"web\""), "{list}");
    }
    host.wocut_outside(&[&["--netns", name], words("detach web").as_slice()].concat()).ok();
    assert!(!host.lan.server.state().exists());
}

engines! { doctor_says_that_the_engine_runs: ebpf nft legacy }
fn doctor_says_that_the_engine_runs(engine: Engine) {
    let host = Host::new(engine);
    let doctor = host.wocut("doctor");
    doctor.ok();
    assert!(doctor.stdout.to_lowercase().contains(engine.word()), "{doctor}");
}

engines! { list_names_every_service: ebpf nft legacy }
fn list_names_every_service(engine: Engine) {
    let host = Host::new(engine);
    host.wocut("list").ok();
    host.attach("web 80/tcp to 8001");
    host.attach("api 81/tcp to 8002");
    let list = host.wocut("list");
    assert!(list.stdout.contains("web") && list.stdout.contains("api"), "{list}");
}
