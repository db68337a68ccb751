//! `wocut doctor`: each feature, whether it is here, and what its absence means.

use std::collections::BTreeMap;

use serde_json::Value;
use wocut_tests::engine::Engine;
use wocut_tests::host::{Host, words};
use wocut_tests::must::Must as _;
use wocut_tests::need::tool;
use wocut_tests::rules::saved_rules;
use wocut_tests::wocut::Outcome;
use wocut_tests::{engines, need};

/// What a container usually lacks, and eBPF needs.
const NO_BPF: &str = "-bpf,-sys_admin,-perfmon";
/// As above, and what iptables needs.
const NOTHING: &str = "-bpf,-sys_admin,-perfmon,-net_admin,-net_raw";

/// The findings by feature.
#[track_caller]
fn findings(doctor: &Outcome) -> BTreeMap<String, Value> {
    let json = doctor.json();
    assert_eq!(json["schema"], 1);
    let all = json["findings"].as_array().must("read the findings").clone();
    all.into_iter().map(|one| (one["feature"].as_str().must("read the feature").to_owned(), one)).collect()
}

engines! { every_feature_is_told_with_what_its_absence_means: ebpf nft legacy }
fn every_feature_is_told_with_what_its_absence_means(engine: Engine) {
    let host = Host::with_firewall(engine);
    host.attach("web 80/tcp to 8001 8002");
    let before = saved_rules(&host);
    let doctor = host.wocut("doctor --json");
    let found = findings(doctor.ok());
    for feature in [
        "sk_lookup",
        "sockhash",
        "sock_ops",
        "namespace cookies",
        "tcx",
        "MPTCP",
        "SO_REUSEPORT on hook tc",
        "lockdown",
        "locked memory",
        "SOCK_DESTROY",
        "BPF file system",
        "cgroup2",
        "flavour",
        "match statistic",
        "match addrtype",
        "match conntrack",
        "match mark",
        "match comment",
        "match socket",
        "target HMARK",
        "target REDIRECT",
        "target DNAT",
        "connection tracking",
        "reserved ports",
        "room",
    ] {
        let finding = found.get(feature).unwrap_or_else(|| panic!("no {feature}: {doctor}"));
        assert!(finding["here"].is_boolean() && finding["matters"].is_boolean(), "{finding}");
        for field in ["area", "found", "without"] {
            assert!(finding[field].as_str().is_some_and(|text| !text.is_empty()), "no {field}: {finding}");
        }
    }
    assert_eq!(found[&format!("engine {}", engine.word())]["here"], true);
    let told = |feature: &str| found[feature]["found"].as_str().must("read what was found").to_owned();
    assert!(told("room").starts_with("1 of ") && told("room").contains("and 2 of "), "{doctor}");
    match engine {
        Engine::Ebpf | Engine::Tc => assert_eq!(told("sk_lookup"), "1 programs are on it"),
        Engine::Nft => assert!(told("flavour").starts_with("nft"), "{doctor}"),
        Engine::Legacy => assert!(told("flavour").starts_with("legacy"), "{doctor}"),
    }
    let table = host.wocut("doctor");
    assert_eq!(table.ok().stdout.lines().count(), found.len() + 1, "{table}");
    assert_eq!(saved_rules(&host), before);
}

engines! { one_engine_is_enough: nft }
fn one_engine_is_enough(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::new(engine);
    let doctor = host.wocut_under(&["setpriv", "--bounding-set", NO_BPF], &words("doctor --json"));
    let found = findings(doctor.ok());
    assert_eq!(
        (&found["engine ebpf"]["here"], &found["engine iptables"]["here"]),
        (&false.into(), &true.into())
    );
    assert!(found["capabilities"]["found"].to_string().contains("CAP_BPF"), "{doctor}");
    assert_eq!(found["sockhash"]["here"], false);
}

engines! { no_engine_at_all_is_a_failure: nft }
fn no_engine_at_all_is_a_failure(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::new(engine);
    let doctor = host.wocut_under(&["setpriv", "--bounding-set", NOTHING], &words("doctor"));
    doctor.code(1).says("no engine works here");
    assert!(doctor.stdout.contains("CAP_NET_ADMIN"), "{doctor}");
}
