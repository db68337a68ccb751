//! An archive for a maintainer: what is in it, and what never is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use tar::{Archive, Entry};
use tempfile::TempDir;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::must::Must as _;
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::pins::dump;
use wocut_tests::tool::run;

/// Planted wherever an operator may have put a secret.
const PLANTED: &str = "s3cr3t-t0k3n";

/// What an archive holds, by name.
fn unpacked(archive: &Path) -> BTreeMap<String, String> {
    let file = File::open(archive).must("open the archive");
    let mut archive = Archive::new(GzDecoder::new(file));
    let entries = archive.entries().must("read the archive");
    let read = |mut entry: Entry<'_, GzDecoder<File>>| {
        let mut text = String::new();
        entry.read_to_string(&mut text).must("read a file of the archive");
        let path = entry.path().must("read a name").into_owned();
        let name = path.strip_prefix("wocut-bugreport").must("strip the folder");
        (name.display().to_string(), text)
    };
    entries.map(|entry| read(entry.must("read an entry"))).collect()
}

/// A service whose checks know a secret, and rules of others with the same one.
fn plant(host: &Host, folder: &TempDir) {
    let file = folder.path().join("web.toml");
    let text = format!(
        "[service.web]\n{}description = \"key {PLANTED}\"\nlisten = [\"80/tcp\"]\n\
         check = {{ type = \"http\", path = \"/health?token={PLANTED}\", host = \"{PLANTED}\", body = \"*{PLANTED}*\" }}\n\
         instances = [\n 8001,\n\
         {{ port = 8002, check = {{ type = \"exec\", command = [\"/bin/true\", \"--password={PLANTED}\"] }} }},\n\
         {{ port = 8003, check = {{ type = \"send-expect\", steps = [{{ send = \"AUTH {PLANTED}\" }}] }} }},\n]\n",
        host.engine.keys()
    );
    fs::write(&file, text).must("write a file");
    host.wocut_with(&["apply", &file.display().to_string()]).ok();
    let comment = ["-A", "INPUT", "-s", "192.0.2.7", "-m", "comment", "--comment", PLANTED, "-j", "ACCEPT"];
    for program in ["iptables-legacy", "iptables-nft"] {
        run(host.tool(program).args(comment));
    }
}

engines! { archive_helps_and_tells_no_secret: ebpf nft }
fn archive_helps_and_tells_no_secret(engine: Engine) {
    need!(tool("iptables-legacy"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    let folder = tempfile::tempdir().must("make a folder");
    plant(&host, &folder);
    let _held = Held::open_many(&host.lan.client, host.lan.at(Family::V4, SERVICE), 5, 1);

    let archive = folder.path().join("report.tar.gz");
    let out = archive.display().to_string();
    let outcome = host.wocut_under(&["env", "WOCUT_TOKEN=s3cr3t-t0k3n"], &["bugreport", "--out", &out]);
    assert_eq!(fs::metadata(&archive).must("look at the archive").permissions().mode() & 0o777, 0o600);
    assert!(outcome.ok().stdout.contains(&out), "{outcome}");

    let files = unpacked(&archive);
    let status: Value = serde_json::from_str(&files["status.json"]).must("read the status");
    assert_eq!(status, host.wocut("status --json").ok().json());
    let wanted: Value = serde_json::from_str(&files["wanted.json"]).must("read the wanted state");
    assert_eq!(wanted["services"]["web"]["check"]["type"], "http", "{wanted}");
    assert!(files["doctor.json"].contains("capabilities"), "{}", files["doctor.json"]);
    assert!(files["versions.txt"].contains("wocut 0."), "{}", files["versions.txt"]);
    assert!(files["mounts.txt"].contains("cgroup2"), "{}", files["mounts.txt"]);
    if engine == Engine::Ebpf {
        assert!(
            files["ebpf/inventory.txt"].contains("program lookup: id "),
            "{}",
            files["ebpf/inventory.txt"]
        );
        let rows: Vec<Value> = serde_json::from_str(&files["ebpf/instances.json"]).must("read the instances");
        assert_eq!(rows.len(), 3);
    } else {
        assert!(files["rules/iptables.txt"].contains("-A WOCUT"), "{}", files["rules/iptables.txt"]);
        assert!(files["rules/nft.txt"].contains("chain WOCUT"), "{}", files["rules/nft.txt"]);
    }
    // The rule of somebody else is counted.
    assert!(
        files["rules/iptables.txt"].contains("# INPUT: rules of others: 1\n"),
        "{}",
        files["rules/iptables.txt"]
    );

    let client = host.lan.client_address(Family::V4).to_string();
    let key = if engine == Engine::Ebpf { hash_key(&host) } else { Vec::new() };
    for (name, text) in &files {
        let known = [PLANTED, "192.0.2.7", &client];
        let secret = known.into_iter().chain(key.iter().map(String::as_str));
        for secret in secret {
            assert!(!text.contains(secret), "{name} has {secret}: {text}");
        }
    }
}

/// The key of the pick's hash, as numbers and as bytes.
fn hash_key(host: &Host) -> Vec<String> {
    let row = dump(&host.lan.server, "settings").remove(0);
    let halves = row["value"]["hash_key"].as_array().must("read the key").clone();
    let half = |half: &Value| half.as_u64().must("read half of the key");
    halves.iter().map(half).flat_map(|half| [half.to_string(), format!("{half:x}")]).collect()
}

engines! { user_without_rights_gets_what_there_is: ebpf }
fn user_without_rights_gets_what_there_is(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001");
    let folder = tempfile::tempdir().must("make a folder");
    let archive = folder.path().join("report.tar.gz");
    let out = archive.display().to_string();
    let dropped = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let outcome = host.wocut_under(&dropped, &["bugreport", "--out", &out]);
    outcome.ok().says("left out: ");
    let files = unpacked(&archive);
    assert!(files["capabilities.txt"].contains("CapEff:\t0000000000000000"), "{}", files["capabilities.txt"]);
    assert!(!files["problems.txt"].is_empty(), "{files:?}");
    // What is there is not written over.
    host.wocut_with(&["bugreport", "--out", &out]).code(1);
}

engines! { nothing_attached_is_no_problem: ebpf }
fn nothing_attached_is_no_problem(engine: Engine) {
    need!(tool("bpftool"));
    let host = Host::new(engine);
    let folder = tempfile::tempdir().must("make a folder");
    let archive = folder.path().join("report.tar.gz");
    host.wocut_with(&["bugreport", "--out", &archive.display().to_string()]).ok();
    let files = unpacked(&archive);
    let (wanted, problems) = (files["wanted.json"].as_str(), files["problems.txt"].as_str());
    assert_eq!((wanted, problems), ("null\n", ""), "{files:?}");
}
