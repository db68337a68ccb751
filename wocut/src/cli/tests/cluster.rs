//! `cluster status`, and what its other verbs say at the end.

use insta::assert_snapshot;

use super::{coloured, json, quiet, text};
use crate::{
    cli::cluster::{done, show},
    cluster::{
        control::{Status, WorkerStatus},
        machine::Cause,
    },
};

fn status() -> Status {
    let worker = |index: u32, state: &str, memory, cause, status: Option<&str>| WorkerStatus {
        index,
        id: u64::from(index) + 7,
        generation: 2,
        pid: 4711 + index,
        port: 20_000 + u16::try_from(index).unwrap(),
        state: state.into(),
        memory,
        cause,
        status: status.map(Into::into),
    };
    Status {
        name: "web".into(),
        master: 4242,
        wanted: 4,
        serving: 2,
        generation: 2,
        reloading: true,
        workers: vec![
            worker(0, "serving", 512 << 20, None, Some("12 requests a second")),
            worker(1, "serving", 3 << 30, Some(Cause::Memory), None),
            worker(2, "starting", 0, None, None),
            worker(3, "draining", 1_500_000, Some(Cause::Watchdog), None),
        ],
    }
}

#[test]
fn workers_and_what_is_wrong_with_them() {
    assert_snapshot!(text(|printer| show(printer, &status())), @"
    WORKER  STATE      PORT   PID  GENERATION  MEMORY  STATUS
         0  serving   20000  4711           2    512M  12 requests a second
         1  serving   20001  4712           2      3G
         2  starting  20002  4713           2       -
         3  draining  20003  4714           2    1.4M
    ");
    assert_snapshot!(coloured(|printer| show(printer, &status())), @"
    WORKER  STATE      PORT   PID  GENERATION  MEMORY  STATUS
         0  serving   20000  4711           2    512M  12 requests a second
    ^[[31m     1  serving   20001  4712           2      3G^[[0m
    ^[[33m     2  starting  20002  4713           2       -^[[0m
    ^[[31m     3  draining  20003  4714           2    1.4M^[[0m
    ");
    assert_snapshot!(json(|printer| show(printer, &status())), @r#"{"generation":2,"master":4242,"name":"web","reloading":true,"schema":1,"serving":2,"wanted":4,"workers":[{"cause":null,"generation":2,"id":7,"index":0,"memory":536870912,"pid":4711,"port":20000,"state":"serving","status":"12 requests a second"},{"cause":"memory","generation":2,"id":8,"index":1,"memory":3221225472,"pid":4712,"port":20001,"state":"serving","status":null},{"cause":null,"generation":2,"id":9,"index":2,"memory":0,"pid":4713,"port":20002,"state":"starting","status":null},{"cause":"watchdog","generation":2,"id":10,"index":3,"memory":1500000,"pid":4714,"port":20003,"state":"draining","status":null}]}"#);
}

#[test]
fn what_a_verb_says_at_the_end() {
    let line = "all workers are of generation 3";
    assert_snapshot!(text(|printer| done(printer, line)), @"all workers are of generation 3");
    assert_snapshot!(json(|printer| done(printer, line)), @r#"{"change":"all workers are of generation 3","schema":1}"#);
    assert_snapshot!(quiet(|printer| done(printer, line)), @"");
}
