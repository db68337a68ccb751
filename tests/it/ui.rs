//! The page of `wocut serve`, in a real browser.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use wocut_tests::browser::{Browser, Key};
use wocut_tests::daemon::{Daemon, Listen};
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::figures::note;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::must::Must as _;
use wocut_tests::need;
use wocut_tests::need::{mptcp, tool};
use wocut_tests::serve::{Serve, service, web};
use wocut_tests::wait::{wait_for, wait_until};

const ORIGIN: &str = "http://127.0.0.1:9090";
const LOCAL: &str = "--http 127.0.0.1:9090";
const TRUSTED: &str = "--http 127.0.0.1:9090 --http-trust-local";
/// Longer than the page takes for anything.
const PATIENCE: Duration = Duration::from_secs(20);

fn visit(host: &Host) -> Browser<'_> {
    let mut browser = Browser::start(&host.lan.server);
    browser.open(&format!("{ORIGIN}/_ui"));
    browser
}

#[track_caller]
fn live(browser: &mut Browser<'_>) {
    browser.wait("the page is live", "document.getElementById('link').innerText.trim() === 'Live'");
}

#[track_caller]
fn has_state(browser: &mut Browser<'_>, instance: &str, state: &str) {
    wait_until(&format!("the page says that {instance} is {state}"), PATIENCE, || {
        browser.page()["services"]["web"]["instances"][instance]["state"] == state
    });
}

/// A figure as the page has it.
fn shown(figure: &Value) -> Value {
    if figure.is_null() { json!("–") } else { json!(figure.to_string()) }
}

/// What the page should say of an instance, by what `status` says of its service.
fn expected(service: &Value, instance: &Value) -> Value {
    let fresh = |one: &Value| {
        let [picked, before] = ["picked", "picked_before"].map(|key| one[key].as_f64().must(key));
        picked - before
    };
    let all: f64 = service["instances"].as_array().must("read the instances").iter().map(fresh).sum();
    let percent = |part: f64| format!("{:.1} %", 100.0 * part);
    json!({
        "expected": percent(instance["share"].as_f64().must("read a share")),
        "measured": percent(fresh(instance) / all),
        "active": shown(&instance["active"]),
        "accept_queue": shown(&instance["accept_queue"]),
        "failovers": shown(&instance["failovers"]),
    })
}

/// Whether an object has these fields and these values among its own.
fn agrees(found: &Value, wanted: &Value) -> bool {
    wanted.as_object().is_some_and(|wanted| wanted.iter().all(|(key, value)| found[key] == *value))
}

engines! { page_shows_what_the_counters_say: ebpf nft }
fn page_shows_what_the_counters_say(engine: Engine) {
    need!(tool("chromium"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    // Rules would lead clients to one that is not there.
    let gone = if engine.is_ebpf() { ", \"gone=8003\"" } else { "" };
    let _serve = Serve::start(&host, &web(&host, &format!("8001, \"8002*3\"{gone}")), LOCAL);
    host.burst_both(300).no_failure();
    let _held = Held::open_many(&host.lan.client, host.lan.at(Family::V4, SERVICE), 5, 1);

    let mut browser = visit(&host);
    live(&mut browser);
    let page = wait_for("the page says what status says", PATIENCE, || {
        let (status, page) = (host.service("web"), browser.page());
        let web = &page["services"]["web"];
        let instances = status["instances"].as_array().must("read the instances");
        let agree = |one: &Value| {
            agrees(&web["instances"][one["name"].as_str().unwrap_or_default()], &expected(&status, one))
        };
        let is_same =
            web["picks"] == shown(&status["picks"]) && web["unserved"] == shown(&status["unserved"]);
        (is_same && instances.iter().all(agree)).then_some(page)
    });
    let web = &page["services"]["web"];
    assert_eq!((&web["listen"], &web["picks"]), (&json!("80/tcp"), &json!("305")), "{web}");
    assert_eq!(web["engine"], if engine.is_ebpf() { "ebpf (sk_lookup)" } else { "iptables" });
    let active = if engine.is_ebpf() { "5" } else { "–" };
    assert_eq!(web["active"], active, "{web}");
    if engine.is_ebpf() {
        assert_eq!(web["instances"]["gone"]["state"], "not listening", "{web}");
        assert_ne!(web["instances"]["gone"]["failovers"], "0", "{web}");
    }

    let load = host.load(2);
    let rate = |page: &Value| page["services"]["web"]["rate"].as_str()?.replace(',', "").parse::<f64>().ok();
    wait_until("the page shows a rate", PATIENCE, || rate(&browser.page()).is_some_and(|rate| rate > 5.0));
    load.stop();
    wait_until("the page shows that nobody comes", PATIENCE, || rate(&browser.page()) == Some(0.0));
    let line = browser.eval("document.querySelector('[data-is=line]').getAttribute('d')");
    assert!(line.as_str().is_some_and(|line| line.contains('L')), "{line}");

    // Whoever comes over TCP without a token may only look.
    let no_buttons = browser.page()["services"]["web"]["instances"]["8001"]["buttons"].clone();
    assert_eq!((&page["rights"], no_buttons), (&json!("You may look, and change nothing"), json!([])));
    assert_eq!(browser.eval("fetch('web/8001/_drain', { method: 'POST' }).then((it) => it.status)"), 403);
    assert_eq!(host.instances("web")["8001"]["admin"], "ready");
    browser.is_clean(ORIGIN);
}

engines! { instance_is_drained_with_the_mouse_and_with_keys_alone: ebpf }
fn instance_is_drained_with_the_mouse_and_with_keys_alone(engine: Engine) {
    need!(tool("chromium"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8003);
    let _serve = Serve::start(&host, &web(&host, "8001, 8002, 8003"), TRUSTED);
    let mut browser = visit(&host);
    live(&mut browser);

    browser.click("Drain 8001 of web");
    browser.shows("It gets no new connections.");
    browser.is_readable("confirm");
    assert_eq!(host.instances("web")["8001"]["admin"], "ready");
    browser.click("Drain");
    has_state(&mut browser, "8001", "draining");
    host.burst_both(200).no_failure().only(&[8002, 8003]);
    browser.shows("web/8001 is drain");

    browser.open(&format!("{ORIGIN}/_ui"));
    live(&mut browser);
    let focus = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent";
    browser.tab_to("the button", "it.getAttribute('aria-label') === 'Drain 8002 of web'");
    browser.press(Key::Enter);
    assert_eq!(browser.eval(focus), "Cancel");
    browser.press(Key::Escape);
    assert_eq!(browser.eval(focus), "Drain 8002 of web");
    assert_eq!(host.instances("web")["8002"]["admin"], "ready");
    for (button, state) in [("Ready 8002 of web", "draining"), ("Drain 8002 of web", "serving")] {
        browser.press(Key::Enter);
        browser.press(Key::Tab);
        browser.press(Key::Enter);
        has_state(&mut browser, "8002", state);
        let is_back = format!("({focus}) === {}", json!(button));
        browser.wait("the focus is where it was", &is_back);
        let left: &[u16] = if state == "draining" { &[8003] } else { &[8002, 8003] };
        host.burst_both(200).no_failure().only(left);
    }
    browser.is_clean(ORIGIN);
}

engines! { token_opens_what_it_says: ebpf }
fn token_opens_what_it_says(engine: Engine) {
    // Of "look" and of "secret".
    const TOKENS: &str = "sha256:3c01eba119e00d79c82b6f65d70bc5f1044d568618bf41377e6d1432023fc2b8 read reader
sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b write writer\n";
    need!(tool("chromium"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let mut serve = Serve::start(&host, &web(&host, "8001, 8002"), "");
    serve.kill();
    let tokens = serve.path("tokens");
    fs::write(&tokens, TOKENS).must("write tokens");
    Command::new("chmod").arg("600").arg(&tokens).status().must("close the file");
    serve.again(&host, &format!("{LOCAL} --token-file {}", tokens.display()));

    let mut browser = visit(&host);
    browser.shows("answers those who have a token");
    browser.write("wrong");
    browser.press(Key::Enter);
    browser.shows("the token is nobody's");
    browser.is_readable("token");
    assert_eq!(browser.page()["services"], json!({}));

    browser.write("look");
    browser.press(Key::Enter);
    live(&mut browser);
    browser.shows("You may look, and change nothing");
    assert_eq!(browser.page()["services"]["web"]["instances"]["8001"]["buttons"], json!([]));
    let drain = "fetch('web/8001/_drain', { method: 'POST', headers: { Authorization: 'Bearer look' } })";
    assert_eq!(browser.eval(&format!("{drain}.then((it) => it.status)")), 403);
    assert_eq!(host.instances("web")["8001"]["admin"], "ready");

    browser.click("Forget the token");
    browser.shows("answers those who have a token");
    browser.wait("it can be written", "document.activeElement.id === 'token'");
    browser.write("secret");
    browser.press(Key::Enter);
    live(&mut browser);
    // What is refused is told in the words of the API.
    browser.click("Drain 8001 of web");
    host.wocut("remove web 8001").ok();
    browser.click("Drain");
    let refused = serve.ask("POST", "/web/8001/_drain", "").is(404).json();
    browser.shows(refused["error"]["message"].as_str().must("read why"));
    browser.press(Key::Escape);
    wait_until("the page has it no more", PATIENCE, || {
        browser.page()["services"]["web"]["instances"]["8001"].is_null()
    });
    browser.click("Drain 8002 of web");
    browser.shows("No other instance serves: new connections go to whatever listens");
    browser.click("Drain");
    has_state(&mut browser, "8002", "draining");
    assert!(!browser.asked().iter().any(|url| url.contains("secret")), "{:?}", browser.asked());
    browser.is_clean(ORIGIN);
}

/// Runs if anything takes it for more than text.
const MARKUP: &str = "<img src=x onerror=hacked=1><script>hacked=1</script>";

engines! { text_of_others_is_text: ebpf }
fn text_of_others_is_text(engine: Engine) {
    need!(tool("chromium"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8001);
    let config = web(&host, "8001") + &format!("description = \"{MARKUP}\"\n");
    let serve = Serve::start(&host, &config, LOCAL);
    let mut browser = visit(&host);
    live(&mut browser);
    // The instance says what it is asked to, and the event says what it said.
    let steps = [
        ("send", "hello%0A"),
        ("expect", "8001 *%0A"),
        ("send", &format!("{MARKUP}%0A")),
        ("expect", "other"),
    ];
    let steps = steps.map(|(verb, text)| format!("{{ {verb} = \"{text}\" }}")).join(", ");
    let check = format!("check = {{ type = \"send-expect\", interval = \"1s\", steps = [{steps}] }}\n");
    serve.write(&(config + &check));
    serve.hang_up();
    browser.shows("web/8001 is down");
    let page = browser.page();
    assert_eq!(page["services"]["web"]["description"], MARKUP, "{page}");
    assert!(page["events"].to_string().contains(MARKUP), "{page}");
    assert_eq!(browser.eval("document.images.length + document.querySelectorAll('script').length"), 1);
    assert_eq!(browser.eval("typeof hacked"), "undefined");
    browser.is_clean(ORIGIN);
}

/// Instances in every state that an ordinary daemon stays in, with what the page calls it.
const STATES: [(&str, &str); 9] = [
    ("8001", "serving"),
    ("8002", "draining"),
    ("8003", "maintenance"),
    ("gone", "not listening"),
    ("canary", "down"),
    ("none", "weight 0"),
    ("mptcp", "not used"),
    ("warm", "slow start, 10 %"),
    ("spare-of-the-others-22", "backup"),
];
const INSTANCES: &str = "8001, { port = 8002, admin = \"drain\" }, { port = 8003, admin = \"maint\" }, \
    \"gone=8009\", { port = 8004, name = \"canary\", check = { type = \"tcp\", interval = \"100ms\", port = 8010 } }, \
    \"none=8006*0\", \"mptcp=8007\", \
    { port = 8008, name = \"warm\", check = { type = \"tcp\", interval = \"100ms\", rise = 1, port = 8011 } }, \
    { port = 8005, name = \"spare-of-the-others-22\", backup = true }";

engines! { every_state_can_be_read_and_heard: ebpf }
fn every_state_can_be_read_and_heard(engine: Engine) {
    need!(tool("chromium"));
    need!(mptcp());
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, (8001..=8006).chain([8008]));
    // No socket map takes it, and the other hook may not be.
    let _mptcp = Daemon::python_with(&host.lan.server, Listen { mptcp: true, ..Listen::on(8007) });
    let text =
        "description = \"Shop and checkout: what people see\"\nhook = \"sk_lookup\"\nslow_start = \"1h\"\n";
    let places = "listen = [\"81/tcp\", \"[fd00:1::1]:8443/tcp\"]\ninstances = []";
    let api = service(&host, "api-of-22-characters-1", places);
    let _serve = Serve::start(&host, &(web(&host, INSTANCES) + text + &api), TRUSTED);
    let mut browser = visit(&host);
    live(&mut browser);
    has_state(&mut browser, "warm", "down");
    let _came_up = Daemon::python(&host.lan.server, 8011);
    for (instance, state) in STATES {
        has_state(&mut browser, instance, state);
    }
    let load = host.load(4);
    browser.wait("it shows a rate", "/now [1-9]/.test(document.querySelectorAll('figcaption')[1].innerText)");
    host.wocut("weight web 8001 2").ok();
    browser.shows("8001 has weight 2, was 1");
    browser.is_readable("states");
    load.stop();

    // A row is a card on a phone, and a row all the same.
    browser.size(360, 780);
    let roles = browser.roles();
    let named =
        |role: &str, name: &str| roles.get(role).is_some_and(|names| names.iter().any(|it| it == name));
    for (role, name) in [
        ("heading", "web"),
        ("columnheader", "State"),
        ("button", "Ready 8002 of web"),
        ("button", "Drain canary of web"),
        ("log", "Events"),
        ("region", "Services"),
        ("table", "Instances of web"),
    ] {
        assert!(named(role, name), "no {role} is called {name}: {:?}", roles.get(role));
    }
    for role in ["banner", "main", "status", "row", "rowheader", "cell"] {
        assert!(roles.contains_key(role), "no {role} in {:?}", roles.keys());
    }
    browser.is_clean(ORIGIN);
}

engines! { page_is_live_again_when_the_daemon_is: ebpf }
fn page_is_live_again_when_the_daemon_is(engine: Engine) {
    need!(tool("chromium"));
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let mut serve = Serve::start(&host, &web(&host, "8001, 8002"), LOCAL);
    let mut browser = visit(&host);
    live(&mut browser);
    serve.kill();
    browser.shows("Reconnecting; figures are of");
    browser.is_readable("away");
    // What is shown is what was known.
    assert_eq!(browser.page()["services"]["web"]["instances"]["8001"]["state"], "serving");
    host.wocut("drain web 8001").ok();
    serve.again(&host, LOCAL);
    live(&mut browser);
    has_state(&mut browser, "8001", "draining");
    host.wocut("drain web 8002").ok();
    browser.shows("8002 is drain, was ready");
    has_state(&mut browser, "8002", "draining");
    // An end that the daemon was asked for is no other.
    assert_eq!(serve.terminate(), Some(0));
    browser.shows("Reconnecting; figures are of");
    browser.is_clean(ORIGIN);
}

/// Answers as if there were 1,024 services with 16 instances each, all like the one that there is.
const MANY: &str = "(() => {
    const real = fetch;
    window.fetch = async (path, options) => {
        const answer = await real(path, options);
        if (path !== '_stats') return answer;
        const [one] = await answer.json();
        const instance = (n) => ({ ...one.backends[0], name: `i${n}`, picked: one.picks });
        const backends = Array.from({ length: 16 }, (_, n) => instance(n));
        const service = (n) => ({ ...one, name: `s${String(n).padStart(4, '0')}`, backends });
        const all = Array.from({ length: 1024 }, (_, n) => service(n));
        return new Response(JSON.stringify(all), answer);
    };
    window.longest = 0;
    new PerformanceObserver((list) => {
        for (const task of list.getEntries()) longest = Math.max(longest, task.duration);
    }).observe({ type: 'longtask' });
})()";

engines! { thousand_services_leave_the_page_quick: ebpf }
fn thousand_services_leave_the_page_quick(engine: Engine) {
    need!(tool("chromium"));
    let host = Host::new(engine);
    let _serve = Serve::start(&host, &web(&host, "8001"), LOCAL);
    let mut browser = Browser::start(&host.lan.server);
    browser.before_all(MANY);
    browser.open(&format!("{ORIGIN}/_ui"));
    live(&mut browser);
    browser.picture("many");
    browser.shows("1,024 services, 16,384 instances");
    let shown = "document.querySelectorAll('.service').length";
    assert_eq!(browser.eval(shown), 100);
    browser.click("Show 100 more of 924");
    assert_eq!(browser.eval(shown), 200);
    browser.eval("document.getElementById('filter').focus()");
    browser.write("s0777");
    browser.shows("1 service fits the filter.");
    assert_eq!(browser.eval(shown), 1);
    browser.eval("document.querySelector('summary').click()");
    browser.wait("its instances are shown", "document.querySelectorAll('tbody tr').length === 16");
    let looks = "performance.getEntriesByType('resource').filter((it) => it.name.endsWith('_stats')).length";
    let before = browser.eval(looks).as_u64().must("count the looks");
    browser.wait("it goes on looking", &format!("{looks} >= {}", before + 2));
    let longest = browser.eval("longest").as_f64().must("read the longest task");
    note(format_args!("1,024 services: the page was busy for {longest:.0} ms at most"));
    assert!(longest < 1000.0, "the page was busy for {longest} ms");
    browser.is_clean(ORIGIN);
}
