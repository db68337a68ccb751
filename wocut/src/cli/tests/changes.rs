//! What verbs say, and the other commands that do something.

use std::path::Path;

use insta::assert_snapshot;

use super::{json, quiet, text};
use crate::{
    bugreport::Report,
    cli::{bugreport, check, upgrade},
    config::Config,
    engine::ebpf::Running,
    host::{Connections, Done},
};

fn done() -> Done {
    Done {
        line: "web: changed: added 8003".into(),
        warnings: vec!["port 80 could not be reserved: Read-only file system (os error 30)".into()],
        notes: vec!["engine iptables: bpf(2) is refused".into()],
        steps: vec!["web: swap the slot table (3 instances can be picked)".into()],
        connections: None,
    }
}

#[test]
fn change_and_its_rehearsal() {
    assert_snapshot!(text(|printer| printer.change(&done(), false)), @"
    2> engine iptables: bpf(2) is refused
    2> warning: port 80 could not be reserved: Read-only file system (os error 30)
    web: swap the slot table (3 instances can be picked)
    web: changed: added 8003
    ");
    assert_snapshot!(text(|printer| printer.change(&done(), true)), @"
    2> engine iptables: bpf(2) is refused
    2> warning: port 80 could not be reserved: Read-only file system (os error 30)
    would: web: swap the slot table (3 instances can be picked)
    would: web: changed: added 8003
    ");
    assert_snapshot!(quiet(|printer| printer.change(&done(), false)), @"2> warning: port 80 could not be reserved: Read-only file system (os error 30)");
    assert_snapshot!(json(|printer| printer.change(&done(), true)), @r#"
    2> engine iptables: bpf(2) is refused
    2> warning: port 80 could not be reserved: Read-only file system (os error 30)
    {"change":"web: changed: added 8003","dry_run":true,"schema":1,"steps":["web: swap the slot table (3 instances can be picked)"],"warnings":["port 80 could not be reserved: Read-only file system (os error 30)"]}
    "#);
    let line = "web/8003 is drain, was ready; killed 2 connections of web/8003".into();
    let killed = Some(Connections { left: 0, killed: 2 });
    let killed = Done { line, connections: killed, ..Done::default() };
    assert_snapshot!(json(|printer| printer.change(&killed, false)), @r#"{"change":"web/8003 is drain, was ready; killed 2 connections of web/8003","dry_run":false,"killed":2,"left":0,"schema":1,"steps":[],"warnings":[]}"#);
}

#[test]
fn programs_that_an_upgrade_swapped() {
    let running = |name, id, tag| Running { name, id, tag };
    let before = [running("lookup", 21, 0x0123_4567_89ab_cdef), running("account", 22, 1)];
    let after =
        [running("lookup", 31, 0x0123_4567_89ab_cdef), running("account", 32, 2), running("register", 33, 3)];
    assert_snapshot!(text(|printer| upgrade::show(printer, &before, &after)), @"
    lookup is program 31, was 21, with the same code
    account is program 32, was 22
    register is program 33
    ");
    assert_snapshot!(json(|printer| upgrade::show(printer, &before, &after)), @r#"{"programs":[{"id":31,"name":"lookup","tag":"0123456789abcdef","was":{"id":21,"tag":"0123456789abcdef"}},{"id":32,"name":"account","tag":"0000000000000002","was":{"id":22,"tag":"0000000000000001"}},{"id":33,"name":"register","tag":"0000000000000003","was":null}],"schema":1}"#);
}

#[test]
fn report_and_what_is_not_in_it() {
    let files = ["versions.txt", "doctor.json"].map(|name| (name.into(), String::new()));
    let problems = vec!["rules/nft.txt: nft is not installed".into()];
    let report = Report { files: files.into(), problems };
    let out = Path::new("/tmp/wocut.tar.gz");
    assert_snapshot!(text(|printer| bugreport::show(printer, &report, out)), @"
    2> left out: rules/nft.txt: nft is not installed
    wrote 2 files to /tmp/wocut.tar.gz
    ");
    assert_snapshot!(quiet(|printer| bugreport::show(printer, &report, out)), @"");
    assert_snapshot!(json(|printer| bugreport::show(printer, &report, out)), @r#"{"file":"/tmp/wocut.tar.gz","files":["versions.txt","doctor.json"],"problems":["rules/nft.txt: nft is not installed"],"schema":1}"#);
}

#[test]
fn files_that_make_sense() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.toml", "[service.web]\nlisten = [\"80/tcp\"]\ninstances = [8001]\n");
    write("b.wocut", "---\nproto: tcp\ninport: 81\nmarkports: [ 8002 ]\nauto: 1\nmonitor: 1\n");
    let files = || Config::read(&[folder.path().to_owned()]);
    let at = |printed: String| printed.replace(&folder.path().display().to_string(), "/etc/wocut");
    assert_snapshot!(at(text(|printer| check::show(printer, files()))), @"
    /etc/wocut/a.toml: ok, 1 service
    /etc/wocut/b.wocut: ok, 1 service
    ");
    assert_snapshot!(at(json(|printer| check::show(printer, files()))), @r#"{"files":[{"errors":0,"file":"/etc/wocut/a.toml","services":1},{"errors":0,"file":"/etc/wocut/b.wocut","services":1}],"schema":1,"warnings":[]}"#);
}
