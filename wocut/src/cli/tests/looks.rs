//! `list`, `stats`, `explain`, `trace` and `doctor`.

use std::net::SocketAddr;

use insta::assert_snapshot;

use super::{coloured, json, text, wanted, web};
use crate::{
    cli::{
        doctor, explain, list, stats,
        top::fixture::{service, status},
        trace,
    },
    doctor::{Area, Finding},
    engine::ebpf::{
        explain::Answer,
        trace::{Outcome, Pick},
    },
    model::{OnEmpty, Options, Policy, Wanted},
    status::Status,
};

#[test]
fn services() {
    let wanted = wanted(Options::default(), &["8001", "canary=127.0.0.1:8002*3"]);
    assert_snapshot!(text(|printer| list::show(printer, &wanted)), @"
    NAME  ENGINE    LISTEN  POLICY  INSTANCES
    dns   iptables  53/udp  random  5301
    web   ebpf      80/tcp  random  8001 canary
    ");
    assert_snapshot!(json(|printer| list::show(printer, &wanted)), @r#"{"schema":1,"services":[{"engine":"iptables","instances":["5301"],"listen":["53/udp"],"name":"dns","policy":"random"},{"engine":"ebpf","instances":["8001","canary"],"listen":["80/tcp"],"name":"web","policy":"random"}]}"#);
    assert_snapshot!(text(|printer| list::show(printer, &Wanted::empty(None))), @"NAME  ENGINE  LISTEN  POLICY  INSTANCES");
    assert_snapshot!(json(|printer| list::show(printer, &Wanted::empty(None))), @r#"{"schema":1,"services":[]}"#);
}

/// Enough picks to tell, too few, and none.
fn distributions() -> Status {
    let mut web = service("web", &[("8001", 130), ("8002", 90), ("8003", 200)]);
    web.instances.iter_mut().zip([0.25, 0.25, 0.5]).for_each(|(instance, share)| instance.share = share);
    web.instances[0].picked_before = 30;
    status(vec![web, service("few", &[("8001", 2), ("8002", 1)]), service("none", &[("8001", 0)])])
}

#[test]
fn distribution_against_what_is_expected() {
    assert_snapshot!(text(|printer| stats::show(printer, &distributions())), @"
    web  picks 390  chi-square 0.77, 2 degrees of freedom, p 0.6807
      INSTANCE  PICKED  EXPECTED  MEASURED
      8001         100    25.00%    25.64%
      8002          90    25.00%    23.08%
      8003         200    50.00%    51.28%
    few  picks 3  too few picks for a chi-square test
      INSTANCE  PICKED  EXPECTED  MEASURED
      8001           2    25.00%    66.67%
      8002           1    25.00%    33.33%
    none  picks 0  too few picks for a chi-square test
      INSTANCE  PICKED  EXPECTED  MEASURED
      8001           0    25.00%         -
    ");
    assert_snapshot!(json(|printer| stats::show(printer, &distributions())), @r#"{"schema":1,"services":[{"chi_square":0.7692307692307692,"degrees_of_freedom":2,"instances":[{"expected":0.25,"measured":0.2564102564102564,"name":"8001","picked":100},{"expected":0.25,"measured":0.23076923076923078,"name":"8002","picked":90},{"expected":0.5,"measured":0.5128205128205128,"name":"8003","picked":200}],"name":"web","p_value":0.6807123983233853,"picks":390},{"chi_square":null,"degrees_of_freedom":null,"instances":[{"expected":0.25,"measured":0.6666666666666666,"name":"8001","picked":2},{"expected":0.25,"measured":0.3333333333333333,"name":"8002","picked":1}],"name":"few","p_value":null,"picks":3},{"chi_square":null,"degrees_of_freedom":null,"instances":[{"expected":0.25,"measured":null,"name":"8001","picked":0}],"name":"none","p_value":null,"picks":0}]}"#);
    assert_snapshot!(text(|printer| stats::show(printer, &status(vec![]))), @"nothing is attached");
}

fn ways() -> (SocketAddr, SocketAddr) {
    ("192.0.2.7:40000".parse().unwrap(), "192.0.2.1:80".parse().unwrap())
}

#[test]
fn whom_a_client_would_get() {
    let wanted = wanted(Options::default(), &["8001", "canary=8002", "8003"]);
    let name = "web".parse().unwrap();
    let of = |order: &[(u32, Answer)]| explain::Explained::new(&name, web(&wanted), ways(), order);
    let all = [(3, Answer::Absent), (2, Answer::Ready), (1, Answer::Full)];
    assert_snapshot!(text(|printer| explain::show(printer, &of(&all))), @"
    web: 192.0.2.7:40000 to 192.0.2.1:80, by random, goes to canary
       INSTANCE  ANSWER
    1  8003      not listening
    2  canary    ready
    3  8001      accept queue full
    ");
    assert_snapshot!(coloured(|printer| explain::show(printer, &of(&all))), @"
    web: 192.0.2.7:40000 to 192.0.2.1:80, by random, goes to canary
       INSTANCE  ANSWER
    ^[[31m1  8003      not listening^[[0m
    2  canary    ready
    ^[[31m3  8001      accept queue full^[[0m
    ");
    assert_snapshot!(json(|printer| explain::show(printer, &of(&all))), @r#"{"schema":1,"service":"web","policy":"random","from":"192.0.2.7:40000","to":"192.0.2.1:80","takes":"canary","otherwise":null,"order":[{"instance":"8003","answer":"not listening"},{"instance":"canary","answer":"ready"},{"instance":"8001","answer":"accept queue full"}]}"#);
    let full = [(1, Answer::Absent), (2, Answer::Full)];
    assert_snapshot!(text(|printer| explain::show(printer, &of(&full))), @"
    web: 192.0.2.7:40000 to 192.0.2.1:80, by random, goes to canary
       INSTANCE  ANSWER
    1  8001      not listening
    2  canary    accept queue full
    ");
}

#[test]
fn what_a_client_gets_where_nobody_serves() {
    let name = "web".parse().unwrap();
    let told = |on_empty| {
        let wanted = wanted(Options { on_empty, policy: Policy::Sticky, ..Options::default() }, &["8001"]);
        let explained = explain::Explained::new(&name, web(&wanted), ways(), &[(1, Answer::Absent)]);
        text(|printer| explain::show(printer, &explained))
            + &json(|printer| explain::show(printer, &explained))
    };
    assert_snapshot!(told(OnEmpty::Pass), @r#"
    web: 192.0.2.7:40000 to 192.0.2.1:80, by sticky, finds no instance: it is for whatever listens there itself
       INSTANCE  ANSWER
    1  8001      not listening
    {"schema":1,"service":"web","policy":"sticky","from":"192.0.2.7:40000","to":"192.0.2.1:80","takes":null,"otherwise":"pass","order":[{"instance":"8001","answer":"not listening"}]}
    "#);
    assert_snapshot!(told(OnEmpty::Drop), @r#"
    web: 192.0.2.7:40000 to 192.0.2.1:80, by sticky, finds no instance, and is dropped
       INSTANCE  ANSWER
    1  8001      not listening
    {"schema":1,"service":"web","policy":"sticky","from":"192.0.2.7:40000","to":"192.0.2.1:80","takes":null,"otherwise":"drop","order":[{"instance":"8001","answer":"not listening"}]}
    "#);
    assert_snapshot!(told(OnEmpty::Reject), @r#"
    web: 192.0.2.7:40000 to 192.0.2.1:80, by sticky, finds no instance, and is refused
       INSTANCE  ANSWER
    1  8001      not listening
    {"schema":1,"service":"web","policy":"sticky","from":"192.0.2.7:40000","to":"192.0.2.1:80","takes":null,"otherwise":"reject","order":[{"instance":"8001","answer":"not listening"}]}
    "#);
}

#[test]
fn picks_and_why() {
    let wanted = wanted(Options::default(), &["8001", "canary=8002"]);
    let least = Options { policy: Policy::LeastConn, ..Options::default() };
    let by_state = super::wanted(least, &["8001", "canary=8002"]);
    let name = "web".parse().unwrap();
    let pick = |port, first_choice, became| Pick {
        service: 0,
        client: "2001:db8::7".parse().unwrap(),
        client_port: 40_000,
        port,
        first_choice,
        became,
    };
    let picks = [
        pick(Some(8001), 1, Outcome::Taken),
        pick(Some(8001), 2, Outcome::Absent),
        pick(Some(8001), 2, Outcome::Full),
        pick(Some(8001), 2, Outcome::Refused),
        pick(Some(8009), 9, Outcome::Absent),
        pick(None, 1, Outcome::Absent),
    ];
    let lines = |by: &Wanted, picks: &[Pick]| {
        text(|printer| picks.iter().all(|pick| trace::show(printer, &name, web(by), pick)))
    };
    assert_snapshot!(lines(&wanted, &picks), @"
    [2001:db8::7]:40000      web 8001         first choice
    [2001:db8::7]:40000      web 8001         failover: canary is not listening
    [2001:db8::7]:40000      web 8001         failover: canary has a full accept queue
    [2001:db8::7]:40000      web 8001         failover: canary could not be assigned
    [2001:db8::7]:40000      web 8009         failover: an instance that is gone is not listening
    [2001:db8::7]:40000      web (nobody)     failover: 8001 is not listening
    ");
    let picks = [pick(Some(8002), 0, Outcome::Taken), pick(None, 0, Outcome::Absent)];
    assert_snapshot!(lines(&by_state, &picks), @"
    [2001:db8::7]:40000      web canary       by least-conn
    [2001:db8::7]:40000      web (nobody)     no instance can take it
    ");
    assert_snapshot!(json(|printer| trace::show(printer, &name, web(&by_state), &picks[1])), @r#"{"client":"[2001:db8::7]:40000","instance":null,"service":"web","why":"no instance can take it"}"#);
    assert_snapshot!(json(|printer| trace::show(printer, &name, web(&by_state), &picks[0])), @r#"{"client":"[2001:db8::7]:40000","instance":"canary","service":"web","why":"by least-conn"}"#);
}

#[test]
fn features_of_a_host() {
    let finding = |area, feature, here, matters, found: &str, without| Finding {
        area,
        feature,
        here,
        matters,
        found: found.into(),
        without,
    };
    let findings = |ebpf, iptables| {
        vec![
            finding(
                Area::Engine,
                "engine ebpf",
                ebpf,
                true,
                "loads on Linux 6.1",
                "services run on iptables rules",
            ),
            finding(
                Area::Engine,
                "engine iptables",
                iptables,
                true,
                "iptables is not installed",
                "no fallback",
            ),
            finding(
                Area::Ebpf,
                "tcx",
                false,
                false,
                "Linux 6.6 has it",
                "programs on interfaces are classic filters",
            ),
            finding(Area::Iptables, "HMARK", false, true, "the match is unknown", "no policy `sticky`"),
            finding(
                Area::Host,
                "room",
                true,
                true,
                "1 of 1024 services",
                "no further service can be attached",
            ),
        ]
    };
    assert_snapshot!(text(|printer| doctor::show(printer, findings(true, false))), @"
    FEATURE          HERE  FOUND                      WITHOUT IT
    engine ebpf      yes   loads on Linux 6.1         services run on iptables rules
    engine iptables  no    iptables is not installed  no fallback
    tcx              no    Linux 6.6 has it           programs on interfaces are classic filters
    HMARK            no    the match is unknown       no policy `sticky`
    room             yes   1 of 1024 services         no further service can be attached
    ");
    assert_snapshot!(coloured(|printer| doctor::show(printer, findings(true, false))), @"
    FEATURE          HERE  FOUND                      WITHOUT IT
    engine ebpf      yes   loads on Linux 6.1         services run on iptables rules
    ^[[31mengine iptables  no    iptables is not installed  no fallback^[[0m
    ^[[33mtcx              no    Linux 6.6 has it           programs on interfaces are classic filters^[[0m
    ^[[31mHMARK            no    the match is unknown       no policy `sticky`^[[0m
    room             yes   1 of 1024 services         no further service can be attached
    ");
    assert_snapshot!(json(|printer| doctor::show(printer, findings(true, false))), @r#"{"findings":[{"area":"engine","feature":"engine ebpf","found":"loads on Linux 6.1","here":true,"matters":true,"without":"services run on iptables rules"},{"area":"engine","feature":"engine iptables","found":"iptables is not installed","here":false,"matters":true,"without":"no fallback"},{"area":"ebpf","feature":"tcx","found":"Linux 6.6 has it","here":false,"matters":false,"without":"programs on interfaces are classic filters"},{"area":"iptables","feature":"HMARK","found":"the match is unknown","here":false,"matters":true,"without":"no policy `sticky`"},{"area":"host","feature":"room","found":"1 of 1024 services","here":true,"matters":true,"without":"no further service can be attached"}],"schema":1}"#);
    let failed = |printer: &crate::cli::printer::Printer| {
        printer.error(&doctor::show(printer, findings(false, false)).unwrap_err());
    };
    assert_snapshot!(json(failed), @r#"
    {"findings":[{"area":"engine","feature":"engine ebpf","found":"loads on Linux 6.1","here":false,"matters":true,"without":"services run on iptables rules"},{"area":"engine","feature":"engine iptables","found":"iptables is not installed","here":false,"matters":true,"without":"no fallback"},{"area":"ebpf","feature":"tcx","found":"Linux 6.6 has it","here":false,"matters":false,"without":"programs on interfaces are classic filters"},{"area":"iptables","feature":"HMARK","found":"the match is unknown","here":false,"matters":true,"without":"no policy `sticky`"},{"area":"host","feature":"room","found":"1 of 1024 services","here":true,"matters":true,"without":"no further service can be attached"}],"schema":1}
    2> {"error":["no engine works here"],"hint":null,"schema":1}
    "#);
}
