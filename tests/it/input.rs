//! Input that is refused: a clear message, the right exit code, and nothing changed.

use std::fs;

use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::Host;
use wocut_tests::must::Must as _;
use wocut_tests::rules::saved_rules;

const USAGE: i32 = 2;
const UNKNOWN: i32 = 4;
const CONFLICT: i32 = 5;

/// The most instances that one service may have.
const LIMIT: u16 = 1024;

/// A host with a service, which has to be the same at the end.
fn refused(engine: Engine, cases: &[(&[&str], i32, &str)]) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001 8002*2");
    let kept = || {
        (
            fs::read_to_string(host.lan.server.state()).must("read the state"),
            saved_rules(&host),
            host.instances("web"),
        )
    };
    let before = kept();
    for (arguments, code, message) in cases {
        let mut arguments = arguments.to_vec();
        if arguments.first() == Some(&"attach") {
            arguments.extend(["--engine", engine.word()]);
        }
        let outcome = host.wocut_with(&arguments);
        outcome.code(*code).says("error: ").says(message);
        assert!(outcome.stdout.is_empty(), "{outcome}");
        assert_eq!(kept(), before, "{outcome}");
    }
}

engines! { malformed_ports_are_refused: ebpf nft legacy }
fn malformed_ports_are_refused(engine: Engine) {
    refused(
        engine,
        &[
            (&["attach", "bad", "0/tcp", "to", "8003"], USAGE, "0"),
            (&["attach", "bad", "65536/tcp", "to", "8003"], USAGE, "65536"),
            (&["attach", "bad", "http/tcp", "to", "8003"], USAGE, "http"),
            (&["attach", "bad", "70/sctp", "to", "8003"], USAGE, "sctp"),
            (&["attach", "bad", "70/tcp", "to", "0"], USAGE, "0"),
            (&["attach", "bad", "70/tcp", "to", "65536"], USAGE, "65536"),
            (&["attach", "bad", "70/tcp", "to", "text"], USAGE, "text"),
            (&["attach", "bad", "70/tcp", "to", "1.2.3:8003"], USAGE, "1.2.3"),
            (&["attach", "bad", "70/tcp", "to"], USAGE, ""),
            (&["attach", "bad", "to", "8003"], USAGE, ""),
            (&["attach", "bad", "70/tcp"], USAGE, ""),
        ],
    );
}

engines! { malformed_names_are_refused: ebpf nft legacy }
fn malformed_names_are_refused(engine: Engine) {
    let long = "x".repeat(200);
    let names = ["a b", "a'b", "a\"b", "a;b", "a/b", "", "..", "ä", "-", &long];
    let cases = names.map(|name| ["attach", name, "70/tcp", "to", "8003"]);
    let cases: Vec<(&[&str], i32, &str)> =
        cases.iter().map(|case| (case.as_slice(), USAGE, "name")).collect();
    refused(engine, &cases);
}

engines! { impossible_instances_are_refused: ebpf nft legacy }
fn impossible_instances_are_refused(engine: Engine) {
    refused(
        engine,
        &[
            (&["attach", "bad", "70/tcp", "to", "8003", "8003"], USAGE, "8003"),
            (&["attach", "bad", "70/tcp", "to", "70"], USAGE, "70"),
            (&["attach", "bad", "70/tcp", "to", "8003*-1"], USAGE, "-1"),
            (&["attach", "bad", "70/tcp", "to", "8003*257"], USAGE, "256"),
            (&["attach", "bad", "70/tcp", "to", "8003*10000000"], USAGE, "10000000"),
            (&["attach", "bad", "70/tcp", "to", "8003", "--policy", "magic"], USAGE, "magic"),
            (&["weight", "web", "8001", "-1"], USAGE, "-1"),
            (&["weight", "web", "8001", "10000000"], USAGE, "10000000"),
            (&["add", "web", "80"], USAGE, "80"),
            (&["weigh", "web", "8001", "1"], USAGE, "weigh"),
        ],
    );
}

engines! { unknown_objects_are_refused: ebpf nft legacy }
fn unknown_objects_are_refused(engine: Engine) {
    refused(
        engine,
        &[
            (&["add", "nosuch", "8003"], UNKNOWN, "nosuch"),
            (&["remove", "web", "9999"], UNKNOWN, "9999"),
            (&["weight", "web", "9999", "1"], UNKNOWN, "9999"),
            (&["drain", "nosuch", "8001"], UNKNOWN, "nosuch"),
            (&["drain", "web", "9999"], UNKNOWN, "9999"),
            (&["ready", "web", "9999"], UNKNOWN, "9999"),
            (&["maint", "web", "9999"], UNKNOWN, "9999"),
            (&["status", "nosuch"], UNKNOWN, "nosuch"),
            (&["stats", "nosuch"], UNKNOWN, "nosuch"),
            (&["detach", "nosuch"], UNKNOWN, "nosuch"),
        ],
    );
}

engines! { conflicts_are_refused: ebpf nft legacy }
fn conflicts_are_refused(engine: Engine) {
    refused(
        engine,
        &[
            (&["attach", "rival", "80/tcp", "to", "8003"], CONFLICT, "web"),
            (&["attach", "web", "80/tcp", "to", "8003"], CONFLICT, "web"),
            (&["attach", "web", "81/tcp", "to", "8001", "8002*2"], CONFLICT, "web"),
        ],
    );
}

engines! { more_instances_than_the_limit_are_refused: ebpf nft legacy }
fn more_instances_than_the_limit_are_refused(engine: Engine) {
    let ports: Vec<String> = (10_001..=15_000).map(|port| port.to_string()).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let attach = [&["attach", "bad", "70/tcp", "to"], ports.as_slice()].concat();
    let add = [&["add", "web"], ports.as_slice()].concat();
    refused(engine, &[(&attach, USAGE, "1024"), (&add, USAGE, "1024")]);
}

engines! { as_many_instances_as_the_limit_are_taken: ebpf nft legacy }
fn as_many_instances_as_the_limit_are_taken(engine: Engine) {
    let host = Host::new(engine);
    let ports =
        |count: u16| (10_001..=10_000 + count).map(|port| port.to_string()).collect::<Vec<_>>().join(" ");
    host.attach(&format!("web 80/tcp to {}", ports(LIMIT)));
    assert_eq!(host.instances("web").len(), usize::from(LIMIT));
    host.wocut("add web 9000").code(USAGE).says("1024");
    assert_eq!(host.instances("web").len(), usize::from(LIMIT));
}

engines! { extreme_weights_are_taken: ebpf nft legacy }
fn extreme_weights_are_taken(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001*256 8002*0 8003");
    let instances = host.instances("web");
    assert_eq!((&instances["8001"]["weight"], &instances["8002"]["weight"]), (&256.into(), &0.into()));
    assert_eq!(instances["8002"]["share"], 0.0);
}
