//! The daemon's API, as other programs meet it.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wocut_tests::daemon::Daemon;
use wocut_tests::emulated::times;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::Host;
use wocut_tests::must::Must as _;
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::random::Random;
use wocut_tests::serve::{self, Answer, Serve, curl};
use wocut_tests::tool::run;
use wocut_tests::wait::wait_until;

/// A service as shuttle's clients describe it, on the engine of a test.
fn web(host: &Host, ports: &[u16]) -> String {
    let backend = |port: &u16| json!({"name": port.to_string(), "address": format!(":{port}"), "weight": 1});
    let backends: Vec<Value> = ports.iter().map(backend).collect();
    let (engine, hook) = (host.engine.word(), if host.engine == Engine::Tc { "tc" } else { "auto" });
    json!({"name": "web", "address": "0.0.0.0:80", "balance": "RR", "check_interval": 1, "rise": 2, "fall": 2,
        "client_timeout": 0, "backends": backends, "engine": engine, "hook": hook, "listen": ["80/tcp"]})
    .to_string()
}

fn config(serve: &Serve) -> Value {
    serve.ask("GET", "/_config", "").is(200).json()
}

engines! { services_are_managed_over_http: ebpf tc nft legacy }
fn services_are_managed_over_http(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    let serve = Serve::start(&host, "", "");
    assert_eq!(serve.ask("GET", "/", "").is(200).json(), json!([]));
    serve.ask("PUT", "/web", &web(&host, &[8001, 8002])).is(200);
    host.burst_both(200).no_failure().only(&[8001, 8002]);
    serve.ask("PUT", "/web/8003", r#"{"address": ":8003"}"#).is(200);
    serve.ask("POST", "/web/8001/_drain", "").is(200);
    host.burst_both(200).no_failure().only(&[8002, 8003]);

    let stats = serve.ask("GET", "/web", "").is(200).json();
    assert_eq!(stats["name"], "web");
    assert_eq!(stats["backends"].as_array().must("read the backends").len(), 3, "{stats}");
    if engine.is_ebpf() {
        assert_eq!(stats["connections"], 400, "{stats}");
    }
    let drained = serve.ask("GET", "/web/8001", "").is(200).json();
    assert_eq!((&drained["up"], &drained["admin"]), (&json!(false), &json!("drain")), "{drained}");

    // What was not meant to be changed again has been changed by somebody else.
    let tag = serve.ask("GET", "/_config", "").is(200).etag.clone();
    serve.ask("PATCH", "/web/8002", r#"{"weight": 3}"#).is(200);
    let socket = serve.path("api.sock");
    let late = curl(
        &mut Command::new("curl"),
        &["--unix-socket", socket.to_str().must("name the socket"), "-H", &format!("If-Match: {tag}")],
        "DELETE",
        "http://localhost/web",
        "",
    );
    late.is(412);
    let before = config(&serve);
    serve.ask("PUT", "/_config", &before.to_string()).is(200);
    assert_eq!(config(&serve), before);
    serve.ask("DELETE", "/web", "").is(200);
    serve.ask("GET", "/web", "").is(404);
    assert_eq!(config(&serve), json!([]));
}

engines! { what_is_refused_changes_nothing: ebpf }
fn what_is_refused_changes_nothing(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let serve = Serve::start(&host, "", "");
    serve.ask("PUT", "/web", &web(&host, &[8001, 8002])).is(200);
    let before = config(&serve);
    let long = "x".repeat(200);
    let patch = |keys: &str| format!("{{{keys}}}");
    for (method, path, body, status) in [
        ("PUT", "/web", "{", 400),
        ("PUT", "/web", "\u{1}", 400),
        ("PUT", "/web", "[]", 422),
        ("PATCH", "/web", &patch(r#""policyy": "random""#), 422),
        ("PATCH", "/web", &patch(r#""client_timeout": 5"#), 422),
        ("PATCH", "/web", &patch(r#""listen": ["80/tcp; rm"]"#), 422),
        ("PATCH", "/web", &patch(r#""check": {"type": "exec", "command": ["/bin/sh", "-c", "id"]}"#), 422),
        ("PUT", "/web/x%0a-j%20ACCEPT", r#"{"address": ":8001"}"#, 422),
        ("PUT", "/../etc", r#"{"address": ":81"}"#, 422),
        ("PUT", "/%2e%2e", r#"{"address": ":81"}"#, 422),
        ("PUT", &format!("/{long}"), r#"{"address": ":81"}"#, 422),
        ("PUT", "/_web", r#"{"address": ":81"}"#, 422),
        ("PUT", "/other", r#"{"address": ":80", "backends": [{"address": ":8001"}]}"#, 409),
        ("PUT", "/web/8001", r#"{"address": "192.0.2.1:8001"}"#, 422),
        ("DELETE", "/db", "", 404),
        ("DELETE", "/web/8009", "", 404),
        ("POST", "/web/8009/_drain", "", 404),
        ("PUT", "/_metrics", "", 405),
    ] {
        let answer = serve.ask(method, path, body);
        let is_refused = (400..500).contains(&answer.status) && (answer.status == status || status == 422);
        assert!(is_refused, "{method} {path} {body}: not {status} but {answer:?}");
        let error = answer.json();
        assert!(error["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer:?}");
    }
    // A body that never ends is not read to its end.
    let huge = fs::File::create(serve.path("huge")).must("make a file");
    huge.set_len(1 << 30).must("make it a large one");
    let upload = ["--unix-socket".into(), serve.path("api.sock").display().to_string(), "-T".into()];
    let upload: Vec<&str> = upload.iter().map(String::as_str).collect();
    let file = serve.path("huge").display().to_string();
    let answer =
        curl(&mut Command::new("curl"), &[&upload[..], &[&file]].concat(), "PUT", "http://localhost/web", "");
    assert!([413, 0].contains(&answer.status), "{answer:?}");
    assert_eq!(config(&serve), before);
    host.burst_both(100).no_failure().only(&[8001, 8002]);
}

engines! { tcp_lets_in_who_has_a_token: ebpf }
fn tcp_lets_in_who_has_a_token(engine: Engine) {
    let host = Host::new(engine);
    let mut serve = Serve::start(&host, "", "");
    serve.kill();
    // "secret", and anybody may know that.
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    fs::write(serve.path("tokens"), format!("sha256:{hash} write ci\n")).must("write tokens");
    Command::new("chmod").arg("600").arg(serve.path("tokens")).status().must("close the file");
    let tokens = format!("--token-file {}", serve.path("tokens").display());
    serve.again(&host, &format!("--http 127.0.0.1:9090 {tokens}"));
    let ask = |arguments: &[&str], method: &str| -> Answer {
        let body = if method == "PUT" { web(&host, &[8001]) } else { String::new() };
        curl(&mut host.lan.server.command("curl"), arguments, method, "http://127.0.0.1:9090/web", &body)
    };
    ask(&[], "GET").is(401);
    ask(&["-H", "Authorization: Bearer wrong"], "PUT").is(401);
    assert_eq!(config(&serve), json!([]));
    ask(&["-H", "Authorization: Bearer secret"], "PUT").is(200);
    ask(&["-H", "Authorization: Bearer secret"], "GET").is(200);
    serve.says("web: attached");

    // Beyond loopback it takes more.
    serve.kill();
    host.wocut(&format!("serve --http 0.0.0.0:9090 {tokens}")).code(1).says("--tls-cert");
    host.wocut("serve --http 0.0.0.0:9090").code(1);
}

engines! { slow_clients_keep_nobody_out: ebpf }
fn slow_clients_keep_nobody_out(engine: Engine) {
    let host = Host::new(engine);
    let serve = Serve::start(&host, "", "--http 127.0.0.1:9090");
    let to: SocketAddr = ([127, 0, 0, 1], 9090).into();
    let mut slow = Vec::new();
    host.lan.server.run(|| {
        for _ in 0..times(10_000) {
            let Ok(mut client) = TcpStream::connect_timeout(&to, Duration::from_secs(1)) else { continue };
            // A header that never ends.
            drop(client.write_all(b"GET / HTTP/1.1\r\nHost: "));
            slow.push(client);
            if slow.len() > 500 {
                slow.remove(0);
            }
        }
    });
    let start = Instant::now();
    serve.ask("PUT", "/web", &web(&host, &[8001])).is(200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(slow);
    wait_until("TCP answers again", Duration::from_secs(20), || {
        curl(&mut host.lan.server.command("curl"), &[], "GET", "http://127.0.0.1:9090/_live", "").status
            == 200
    });
}

engines! { kills_lose_no_accepted_change: ebpf nft }
fn kills_lose_no_accepted_change(engine: Engine) {
    const CALLS: u64 = 100;
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8004);
    let folder = tempfile::tempdir().must("make a folder");
    let flags = format!("--state {}", folder.path().join("state.toml").display());
    let mut serve = Serve::start(&host, "", &flags);
    serve.ask("PUT", "/web", &web(&host, &[8001])).is(200);
    let mut random = Random::seeded();
    for call in 0..times(CALLS) {
        let weight = 1 + random.below(9);
        let port = 8001 + u16::try_from(random.below(4)).must("pick a port");
        let body = json!({"address": format!(":{port}"), "weight": weight}).to_string();
        serve.ask("PUT", &format!("/web/{port}"), &body).is(200);
        if call % 5 == 0 {
            serve.kill();
            serve.again(&host, &flags);
        }
        let found = serve.ask("GET", &format!("/web/{port}"), "").is(200).json();
        assert_eq!(found["weight"], weight, "{found}");
    }
    let state = fs::read_to_string(folder.path().join("state.toml")).must("read the state file");
    for port in host.instances("web").keys() {
        assert!(state.contains(port), "{state}");
    }
}

engines! { metrics_are_the_kernels: ebpf }
fn metrics_are_the_kernels(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let serve = Serve::start(&host, "", "");
    serve.ask("PUT", "/web", &web(&host, &[8001, 8002])).is(200);
    host.burst_both(100).no_failure();
    let page = serve.ask("GET", "/_metrics", "").is(200).body.clone();
    assert!(page.contains("wocut_picks_total{service=\"web\"} 100\n"), "{page}");
    assert!(page.contains("wocut_instance_listening{service=\"web\",instance=\"8001\"} 1\n"), "{page}");
}

engines! { prometheus_takes_metrics_and_alerts: ebpf }
fn prometheus_takes_metrics_and_alerts(engine: Engine) {
    need!(tool("promtool"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let check = "check = { type = \"tcp\", interval = \"100ms\" }";
    let serve = Serve::start(&host, &(serve::web(&host, "8001, 8002") + check), "");
    host.burst_both(100).no_failure();
    let page = serve.ask("GET", "/_metrics", "").is(200).body.clone();
    fs::write(serve.path("metrics"), page).must("write the metrics");
    let metrics = fs::File::open(serve.path("metrics")).must("open the metrics");
    run(Command::new("promtool").args(["check", "metrics"]).stdin(metrics));
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../wocut/dist/alerts.yml");
    run(Command::new("promtool").args(["check", "rules", "--lint-fatal", alerts]));
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/src/alerts.yml");
    run(Command::new("promtool").args(["test", "rules", cases]));
}
