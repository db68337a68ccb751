//! Which engine is chosen, and what wocut says about it.

use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::host::{Host, words};
use wocut_tests::need::tool;
use wocut_tests::wocut::Outcome;
use wocut_tests::{engines, need};

/// What a container usually lacks, and eBPF needs.
const NO_BPF: &str = "-bpf,-sys_admin,-perfmon";
/// As above, and what iptables needs.
const NOTHING: &str = "-bpf,-sys_admin,-perfmon,-net_admin,-net_raw";

fn without(host: &Host, capabilities: &str, arguments: &str) -> Outcome {
    host.wocut_under(&["setpriv", "--bounding-set", capabilities], &words(arguments))
}

engines! { without_the_capabilities_iptables_takes_over_and_says_why: nft legacy }
fn without_the_capabilities_iptables_takes_over_and_says_why(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8004);
    let attach = without(&host, NO_BPF, "attach web 80/tcp to 8001 8002 8003 8004");
    attach.ok().says("CAP_BPF").says("iptables");
    host.burst_both(1000).no_failure().only(&[8001, 8002, 8003, 8004]);
    let status = without(&host, NO_BPF, "status --json").ok().json();
    assert_eq!(status["services"][0]["engine"], "iptables");
    assert!(status["engine_reason"].as_str().is_some_and(|why| why.contains("CAP_BPF")), "{status}");
    without(&host, NO_BPF, "drain web 8001").ok();
    host.burst_both(400).no_failure().only(&[8002, 8003, 8004]);
    without(&host, NO_BPF, "detach web").ok();
    assert!(!host.lan.server.state().exists());
}

engines! { ebpf_is_the_first_choice: ebpf }
fn ebpf_is_the_first_choice(engine: Engine) {
    let host = Host::new(engine);
    let attach = host.wocut("attach web 80/tcp to 8001");
    attach.ok();
    assert!(!attach.stderr.contains("iptables"), "{attach}");
    assert_eq!(host.service("web")["engine"], "ebpf");
}

engines! { wanted_engine_is_not_replaced_by_another: ebpf }
fn wanted_engine_is_not_replaced_by_another(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::new(engine);
    without(&host, NO_BPF, "attach web 80/tcp to 8001 --engine ebpf").code(1).says("CAP_BPF");
    assert!(!host.lan.server.state().exists());
    assert!(!host.lan.server.pins().exists());
}

engines! { without_any_engine_each_reason_is_given: nft legacy }
fn without_any_engine_each_reason_is_given(engine: Engine) {
    need!(tool("setpriv"));
    let host = Host::new(engine);
    let attach = without(&host, NOTHING, "attach web 80/tcp to 8001");
    attach.code(1).says("CAP_BPF").says("iptables").says("CAP_NET_ADMIN");
    assert!(!host.lan.server.state().exists());
}
