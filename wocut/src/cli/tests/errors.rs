//! Every error that means something: its words, its exit code, and what helps.

use std::{fmt::Write as _, io, iter::successors};

use anyhow::Context as _;
use insta::assert_snapshot;

use super::{json, text};
use crate::{
    cluster::place::HasMaster,
    config::Config,
    conflicts::{Conflict, Conflicts, Kind as Way},
    engine::ebpf::{Foreign, Gone, OtherVersion},
    error::{Ended, FallsShort, Interrupted, Kind, NotAttached, StillOpen, Told, Usage, exit_code},
    model::{Name, Policy},
    plan::ChangeError,
    sys::state_file::OtherSchema,
};

fn web() -> Name {
    "web".parse().unwrap()
}

/// The one after it in the list, so that a new one has to be put in.
fn after(change: &ChangeError) -> Option<ChangeError> {
    let conflict = |forceable| ChangeError::Conflict {
        what: "service `api` listens on 80/tcp already".into(),
        forceable,
    };
    Some(match change {
        ChangeError::Usage(_) => ChangeError::NoService(web()),
        ChangeError::NoService(_) => ChangeError::NoInstance(web(), "8009".parse().unwrap()),
        ChangeError::NoInstance(..) => conflict(false),
        ChangeError::Conflict { forceable: false, .. } => conflict(true),
        ChangeError::Conflict { forceable: true, .. } => return None,
    })
}

fn refused() -> anyhow::Error {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("web.toml"),
        "[service.web]\nlisten = [\"80/tcp\"]\ninstance = [8001]\n",
    )
    .unwrap();
    let mut refused = Config::read(&[folder.path().to_owned()]).sound().unwrap_err();
    refused.problems.iter_mut().for_each(|problem| problem.file = "/etc/wocut/web.toml".into());
    refused.into()
}

fn conflicts() -> Conflicts {
    let what = "rule `-p tcp --dport 80 -j DNAT` in nat PREROUTING takes 80/tcp first".into();
    Conflicts(vec![Conflict { service: web(), kind: Way::Rule, what, owner: "Docker".into() }])
}

/// At least one of each kind.
fn examples() -> Vec<anyhow::Error> {
    let pins = || "/sys/fs/bpf/wocut/4026531840".into();
    let state = || "/run/wocut/4026531840.json".into();
    let changes = successors(Some(ChangeError::Usage("no instance is given".into())), after);
    let denied = || io::Error::from_raw_os_error(1);
    let mut examples: Vec<anyhow::Error> = vec![
        Told::of(&conflicts().into()).into(),
        Ended(7).into(),
        refused(),
        Usage("`--listen` says where the service takes connections, as in `--listen 80/tcp`".into()).into(),
        "rondom".parse::<Policy>().unwrap_err().into(),
        NotAttached("nothing to trace: no service is on the ebpf engine".into()).into(),
        OtherVersion { pins: pins(), found: 3 }.into(),
        OtherSchema { path: state(), found: 2, ours: 1 }.into(),
        Foreign { pin: pins(), found: "theirs".into() }.into(),
        Gone(pins()).into(),
        conflicts().into(),
        HasMaster { name: web(), pid: "4711".into() }.into(),
        FallsShort("the iptables engine has no policy `least-conn`".into()).into(),
        StillOpen("drained web/8001, but 2 open connections left after 30s".into()).into(),
        Interrupted("interrupted: web/8001 left drained, with 1 open connection".into()).into(),
        denied().into(),
        Err::<(), _>(denied()).context("open map instances").context("attach web").unwrap_err(),
        io::Error::from_raw_os_error(28).into(),
    ];
    examples.extend(changes.map(Into::into));
    examples
}

#[test]
fn every_error_has_its_words_its_exit_code_and_its_hint() {
    let mut kinds: Vec<&str> = Vec::new();
    let mut page = String::new();
    for error in examples() {
        let kind = format!("{:?}", error.chain().find_map(Kind::of).unwrap());
        let kind = Kind::ALL.iter().find(|name| kind.starts_with(&format!("{name}("))).unwrap();
        kinds.push(kind);
        let (text, json) = (text(|printer| printer.error(&error)), json(|printer| printer.error(&error)));
        write!(page, "{kind}, exit code {}\n{text}{json}", exit_code(&error)).unwrap();
    }
    let missing: Vec<_> = Kind::ALL.iter().filter(|kind| !kinds.contains(kind)).collect();
    assert!(missing.is_empty(), "no example of {missing:?}");
    assert_snapshot!(page, @r#"
    Told, exit code 5
    2> error: 1 conflict on this host, and nothing was changed
    2>   conflict: web: rule `-p tcp --dport 80 -j DNAT` in nat PREROUTING takes 80/tcp first; it belongs to Docker
    2> hint: `--force` goes on in spite of them
    2> {"conflicts":[{"kind":"rule","owner":"Docker","service":"web","what":"rule `-p tcp --dport 80 -j DNAT` in nat PREROUTING takes 80/tcp first"}],"error":["1 conflict on this host, and nothing was changed"],"hint":"`--force` goes on in spite of them","schema":1}
    Ended, exit code 7
    2> error: the program has ended with exit code 7
    2> {"error":["the program has ended with exit code 7"],"hint":null,"schema":1}
    Refused, exit code 2
    2> error: /etc/wocut/web.toml:3:1: unknown key `instance`
    2>   3 | instance = [8001]
    2>     | ^^^^^^^^
    2> hint: did you mean `instances`?
    2> error: /etc/wocut/web.toml:1:10: `instances` is missing
    2>   1 | [service.web]
    2>     |          ^^^
    2> error: 2 errors in the configuration
    2> {"error":["2 errors in the configuration"],"hint":null,"problems":[{"column":1,"file":"/etc/wocut/web.toml","hint":"did you mean `instances`?","line":3,"message":"unknown key `instance`"},{"column":10,"file":"/etc/wocut/web.toml","hint":null,"line":1,"message":"`instances` is missing"}],"schema":1}
    Usage, exit code 2
    2> error: `--listen` says where the service takes connections, as in `--listen 80/tcp`
    2> {"error":["`--listen` says where the service takes connections, as in `--listen 80/tcp`"],"hint":null,"schema":1}
    Parse, exit code 2
    2> error: `rondom` is not a policy: it is one of `random` `round-robin` `least-conn` `least-backlog` `sticky`
    2> {"error":["`rondom` is not a policy: it is one of `random` `round-robin` `least-conn` `least-backlog` `sticky`"],"hint":null,"schema":1}
    NotAttached, exit code 3
    2> error: nothing to trace: no service is on the ebpf engine
    2> {"error":["nothing to trace: no service is on the ebpf engine"],"hint":null,"schema":1}
    OtherVersion, exit code 5
    2> error: /sys/fs/bpf/wocut/4026531840 is of another version of wocut: its layout is version 3, this one's is 4
    2> hint: that version's `wocut detach --all` removes it
    2> {"error":["/sys/fs/bpf/wocut/4026531840 is of another version of wocut: its layout is version 3, this one's is 4"],"hint":"that version's `wocut detach --all` removes it","schema":1}
    OtherSchema, exit code 5
    2> error: state file /run/wocut/4026531840.json has schema 2, this version's is 1
    2> hint: that version's `wocut detach --all` removes it
    2> {"error":["state file /run/wocut/4026531840.json has schema 2, this version's is 1"],"hint":"that version's `wocut detach --all` removes it","schema":1}
    Foreign, exit code 5
    2> error: /sys/fs/bpf/wocut/4026531840 runs program `theirs`, which is not wocut's
    2> {"error":["/sys/fs/bpf/wocut/4026531840 runs program `theirs`, which is not wocut's"],"hint":null,"schema":1}
    Gone, exit code 1
    2> error: /sys/fs/bpf/wocut/4026531840 is gone: somebody removed what wocut had pinned there
    2> hint: `wocut upgrade` puts it back, and so does any change
    2> {"error":["/sys/fs/bpf/wocut/4026531840 is gone: somebody removed what wocut had pinned there"],"hint":"`wocut upgrade` puts it back, and so does any change","schema":1}
    Conflicts, exit code 5
    2> error: 1 conflict on this host, and nothing was changed
    2>   conflict: web: rule `-p tcp --dport 80 -j DNAT` in nat PREROUTING takes 80/tcp first; it belongs to Docker
    2> hint: `--force` goes on in spite of them
    2> {"conflicts":[{"kind":"rule","owner":"Docker","service":"web","what":"rule `-p tcp --dport 80 -j DNAT` in nat PREROUTING takes 80/tcp first"}],"error":["1 conflict on this host, and nothing was changed"],"hint":"`--force` goes on in spite of them","schema":1}
    HasMaster, exit code 5
    2> error: cluster web is run by process 4711
    2> hint: `wocut cluster reload web` replaces its workers, `--replace` its master
    2> {"error":["cluster web is run by process 4711"],"hint":"`wocut cluster reload web` replaces its workers, `--replace` its master","schema":1}
    FallsShort, exit code 1
    2> error: the iptables engine has no policy `least-conn`
    2> hint: `--allow-degraded` attaches it without
    2> {"error":["the iptables engine has no policy `least-conn`"],"hint":"`--allow-degraded` attaches it without","schema":1}
    StillOpen, exit code 1
    2> error: drained web/8001, but 2 open connections left after 30s
    2> hint: the same command goes on waiting, with `--kill` it ends them
    2> {"error":["drained web/8001, but 2 open connections left after 30s"],"hint":"the same command goes on waiting, with `--kill` it ends them","schema":1}
    Interrupted, exit code 130
    2> error: interrupted: web/8001 left drained, with 1 open connection
    2> hint: the same command goes on from here, `wocut ready` takes it back
    2> {"error":["interrupted: web/8001 left drained, with 1 open connection"],"hint":"the same command goes on from here, `wocut ready` takes it back","schema":1}
    Io, exit code 1
    2> error: Operation not permitted (os error 1)
    2> hint: run it as root; `wocut doctor` says which capabilities are missing
    2> {"error":["Operation not permitted (os error 1)"],"hint":"run it as root; `wocut doctor` says which capabilities are missing","schema":1}
    Io, exit code 1
    2> error: attach web
    2>   caused by: open map instances
    2>   caused by: Operation not permitted (os error 1)
    2> hint: run it as root; `wocut doctor` says which capabilities are missing
    2> {"error":["attach web","open map instances","Operation not permitted (os error 1)"],"hint":"run it as root; `wocut doctor` says which capabilities are missing","schema":1}
    Io, exit code 1
    2> error: No space left on device (os error 28)
    2> {"error":["No space left on device (os error 28)"],"hint":null,"schema":1}
    Change, exit code 2
    2> error: no instance is given
    2> {"error":["no instance is given"],"hint":null,"schema":1}
    Change, exit code 4
    2> error: no service `web`
    2> hint: `wocut list` shows what is attached
    2> {"error":["no service `web`"],"hint":"`wocut list` shows what is attached","schema":1}
    Change, exit code 4
    2> error: service `web` has no instance `8009`
    2> hint: `wocut status web` shows its instances
    2> {"error":["service `web` has no instance `8009`"],"hint":"`wocut status web` shows its instances","schema":1}
    Change, exit code 5
    2> error: service `api` listens on 80/tcp already
    2> {"error":["service `api` listens on 80/tcp already"],"hint":null,"schema":1}
    Change, exit code 5
    2> error: service `api` listens on 80/tcp already
    2> hint: `--force` puts the new one in its place
    2> {"error":["service `api` listens on 80/tcp already"],"hint":"`--force` puts the new one in its place","schema":1}
    "#);
}
