//! The documentation, typed as it stands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wocut_tests::docs::page::{Command, Ends, Page, Step, Who};
use wocut_tests::docs::{links, output, reader, stage};
use wocut_tests::engine::Engine;
use wocut_tests::must::{Must as _, check};
use wocut_tests::need::{tool, tunnels};
use wocut_tests::{engines, need};

/// One test for each page that has something to type.
macro_rules! pages {
    ($($name:ident: $path:literal)+) => {
        const PAGES: &[&str] = &[$($path),+];
        $(#[test]
        fn $name() {
            reads_as_it_stands($path);
        })+
    };
}

pages! {
    readme: "README.md"
    api: "wocut/docs/api.md"
    cluster: "wocut/docs/cluster.md"
    config: "wocut/docs/config.md"
    conflicts: "wocut/docs/conflicts.md"
    failure_modes: "wocut/docs/failure-modes.md"
    install: "wocut/docs/install.md"
    moving: "wocut/docs/moving.md"
    operations: "wocut/docs/operations.md"
    output: "wocut/docs/output.md"
    quickstart: "wocut/docs/quickstart.md"
    dnsmasq: "wocut/docs/recipes/dnsmasq.md"
    gunicorn: "wocut/docs/recipes/gunicorn.md"
    haproxy: "wocut/docs/recipes/haproxy.md"
    nginx: "wocut/docs/recipes/nginx.md"
    node: "wocut/docs/recipes/node.md"
    openvpn: "wocut/docs/recipes/openvpn.md"
    pgbouncer: "wocut/docs/recipes/pgbouncer.md"
    redis: "wocut/docs/recipes/redis.md"
    stunnel: "wocut/docs/recipes/stunnel.md"
    run: "wocut/docs/run.md"
    security: "wocut/docs/security.md"
    serve: "wocut/docs/serve.md"
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().must("find the workspace").to_owned()
}

fn parse(path: &str) -> Page {
    Page::parse(&fs::read_to_string(root().join(path)).must(path))
}

#[track_caller]
fn reads_as_it_stands(path: &str) {
    let page = parse(path);
    check(page.faults.is_empty(), || format!("{path}:{}", page.faults.join("\n")));
    need!(Engine::Ebpf.available());
    need!(stage::layers());
    need!(tool("useradd"));
    for program in &page.needs {
        need!(if program == "tunnels" { tunnels() } else { tool(program) });
    }
    let faults = reader::read(&page);
    check(faults.is_empty(), || format!("{path} is not so:\n{}", faults.join("\n\n")));
}

/// The pages, by their paths from the root.
fn found() -> BTreeSet<String> {
    let mut found = BTreeSet::from(["README.md".to_owned()]);
    for folder in ["wocut/docs", "wocut/docs/recipes"] {
        for entry in fs::read_dir(root().join(folder)).must(folder).flatten() {
            if entry.path().extension().is_some_and(|kind| kind == "md") {
                found.insert(format!("{folder}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    found
}

#[test]
fn every_page_is_read_that_has_something_to_do() {
    let has_steps = |path: &String| !parse(path).steps.is_empty() || !parse(path).faults.is_empty();
    let pages: BTreeSet<String> = found().into_iter().filter(has_steps).collect();
    assert_eq!(pages, PAGES.iter().map(ToString::to_string).collect());
}

#[test]
fn every_link_leads_somewhere() {
    let dead: Vec<String> = found().iter().flat_map(|path| links::dead(&root().join(path))).collect();
    assert_eq!(dead, Vec::<String>::new());
}

#[test]
fn block_is_run_or_says_why_not() {
    let page = Page::parse("<!-- not run: a host that starts -->\n```console\n# reboot\n```\n");
    assert!(page.steps.is_empty() && page.faults.is_empty(), "{page:?}");
    let silent = Page::parse("<!-- not run: -->\n```console\n# reboot\n```\n");
    assert_eq!(silent.faults.len(), 1, "{silent:?}");
    let stray = Page::parse("<!-- not run: a host that starts -->\nText.\n\n```console\n# reboot\n```\n");
    assert_eq!((stray.steps.len(), stray.faults.len()), (1, 1), "{stray:?}");
}

#[test]
fn lines_of_a_block_are_commands_and_what_they_print() {
    let text = "```console\n# a \\\n  b\n$ for x in y; do\n>     z\n> done\none\n…\nclient$ c\n^C\n```\n";
    let command = |who, text: &str, output: &[&str], ends| {
        let output = output.iter().map(ToString::to_string).collect();
        Step::Command(Command { who, text: text.into(), output, ends, numbers_vary: false })
    };
    let steps: Vec<Step> = Page::parse(text).steps.into_iter().map(|(_, step)| step).collect();
    assert_eq!(
        steps,
        [
            command(Who::Root, "a \\\n  b", &[], Ends::ByItself),
            command(Who::Alice, "for x in y; do\n    z\ndone", &["one", "…"], Ends::ByItself),
            command(Who::Client, "c", &[], Ends::Interrupted),
        ]
    );
}

#[test]
fn output_is_as_printed_but_for_what_is_left_open() {
    let is_like = |printed: &str, came: &str, vary| {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        output::is_like(&lines(printed), &lines(came), vary)
    };
    assert!(is_like("a  1", "a 1", false) && !is_like("a 1", "a 2", false) && is_like("a 1", "a 2", true));
    assert!(is_like("web-1 33.1%", "web-1 4%", true) && !is_like("web-1 3", "web-2 3", true));
    assert!(is_like("a\n…\nd", "a\nb\nc\nd", false) && !is_like("a\n…\nd", "a\nb", false));
    assert!(is_like("a … c … e", "a b c d e", false) && !is_like("a … c", "a b", false));
    assert!(!is_like("a", "a\nb", false) && !is_like("a\nb", "a", false));
}

engines! { loss_is_seen: ebpf }
fn loss_is_seen(_: Engine) {
    need!(tool("useradd"));
    need!(stage::layers());
    let load =
        "<!-- docs test: web servers on 8001 -->\n<!-- docs test: load curl -sf http://192.0.2.1:8001/ -->\n";
    let kill = "```console\n# pkill -f http.server\n```\n<!-- docs test: no loss -->\n";
    let faults = reader::read(&Page::parse(&format!("{load}{kill}")));
    assert!(faults.len() == 1 && faults[0].contains("something was lost"), "{faults:?}");
}
