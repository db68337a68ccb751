//! `top`, on a terminal and in a pipe, says what `status` says.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::must::Must as _;
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::screen::Screen;
use wocut_tests::serve::Serve;
use wocut_tests::user::User;
use wocut_tests::wait::wait_until;

/// Words of a row: name, admin, health, listens, share, picks a second, active, queue, failovers.
type Row = Vec<String>;

/// Three instances; one is drained and one does not listen, and twelve connections are open.
fn busy(host: &Host) -> (Vec<Daemon>, Vec<Held>) {
    let daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    host.attach("web 80/tcp to 8001 8002");
    let held = Held::open_many(&host.lan.client, host.lan.at(Family::V4, SERVICE), 12, 1);
    host.wocut("add web canary=8003*2").ok();
    host.wocut("drain web 8002").ok();
    (daemons, held)
}

/// The rows of a text under its header, by name.
fn rows(lines: &[String], header: &str) -> BTreeMap<String, Row> {
    let words = |line: &String| line.split_whitespace().map(ToOwned::to_owned).collect::<Row>();
    let under = lines.iter().skip_while(|line| !line.starts_with(header)).skip(1).map(words);
    under.take_while(|row| row.len() >= 9).map(|row| (row[0].clone(), row)).collect()
}

/// The row that `status` makes of an instance, but for the rate.
fn expected(instance: &Value) -> Row {
    let text = |key: &str| match &instance[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        figure => figure.to_string(),
    };
    let share = format!("{:.1}%", instance["share"].as_f64().must("read a share") * 100.0);
    let [name, admin, health, listening] = ["name", "admin", "health", "listening"].map(text);
    let [active, queue, failovers] = ["active", "accept_queue", "failovers"].map(text);
    vec![name, admin, health, listening, share, active, queue, failovers]
}

fn without_rate(row: &Row) -> Row {
    [&row[..5], &row[6..9]].concat()
}

engines! { screen_says_what_status_says: ebpf nft }
fn screen_says_what_status_says(engine: Engine) {
    need!(tool("tmux"));
    let host = Host::new(engine);
    let _kept = busy(&host);
    let screen = Screen::start(&host, "top --interval 200ms");
    screen.shows_line("wocut  services 1  instances 3");
    for (name, instance) in host.instances("web") {
        screen.shows(&name, |lines| {
            let row = rows(lines, "SERVICE").remove(&name)?;
            (without_rate(&row) == expected(&instance)).then_some(())
        });
    }
    let load = host.load(2);
    screen.shows("a rate", |lines| {
        let row = rows(lines, "SERVICE").remove("web")?;
        row[5].parse::<f64>().is_ok_and(|rate| rate > 1.0).then_some(())
    });
    load.stop();
    // Another service comes into the picture.
    host.attach("api 81/tcp to 9001");
    screen.shows_line("wocut  services 2  instances 4");
}

engines! { keys_drain_make_ready_filter_and_quit: ebpf }
fn keys_drain_make_ready_filter_and_quit(engine: Engine) {
    need!(tool("tmux"));
    let host = Host::new(engine);
    let _kept = busy(&host);
    host.attach("api 81/tcp to 9001");
    // Nothing is held from one look to the next.
    let screen = Screen::start(&host, "top --interval 1h");
    let admin = |name: &str| host.instances("web")[name]["admin"].as_str().map(ToOwned::to_owned);

    screen.shows_line("j k select");
    screen.press(&["End", "d"]);
    screen.shows_line("web/canary is drain, was ready");
    assert_eq!(admin("canary").as_deref(), Some("drain"));
    screen.shows("the drained one", |lines| {
        let row = rows(lines, "SERVICE").remove("canary")?;
        (row[1] == "drain").then_some(())
    });
    screen.press(&["k", "r"]);
    wait_until("the other one is ready", Duration::from_secs(10), || {
        admin("8002").as_deref() == Some("ready")
    });
    screen.press(&["Home", "d"]);
    screen.shows_line("select an instance first");

    screen.press(&["/", "a", "p", "i", "Enter"]);
    screen.shows("api alone", |lines| {
        let shown: Vec<String> = rows(lines, "SERVICE").into_keys().collect();
        (shown == ["9001", "api"]).then_some(())
    });
    screen.press(&["s"]);
    screen.shows_line("wocut  services 2  instances 4  sort picks/s  filter api");
    screen.press(&["q"]);
    screen.gives_back_after(0);
}

engines! { terminal_is_given_back_by_signals: ebpf }
fn terminal_is_given_back_by_signals(engine: Engine) {
    need!(tool("tmux"));
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001");
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let screen = Screen::start(&host, "top --interval 1h");
        screen.shows_line("j k select");
        screen.signal(signal);
        screen.gives_back_after(code);
    }
    let screen = Screen::start(&host, "top");
    screen.shows_line("j k select");
    screen.press(&["C-c"]);
    screen.gives_back_after(0);
}

engines! { service_that_there_is_not_is_told_as_ever: ebpf }
fn service_that_there_is_not_is_told_as_ever(engine: Engine) {
    need!(tool("tmux"));
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001");
    let screen = Screen::start(&host, "top db");
    screen.shows_line("error: no service `db`");
    screen.shows_line("ended 4");
    assert_eq!(host.wocut("top db --count 1").code(4).stdout.lines().count(), 0);
}

engines! { pipe_gets_lines_that_say_what_status_says: ebpf tc nft legacy }
fn pipe_gets_lines_that_say_what_status_says(engine: Engine) {
    let host = Host::new(engine);
    let _kept = busy(&host);
    let printed = host.wocut("top --interval 100ms --count 2").ok().stdout.clone();
    let lines: Vec<String> = printed.lines().map(ToOwned::to_owned).collect();
    assert_eq!(lines.len(), 1 + 2 * 4, "{printed}");
    let columns: Vec<usize> =
        ["SERVICE", "INSTANCE", "ADMIN"].map(|name| lines[0].find(name).must(name)).into();
    for line in &lines[1..] {
        assert!(columns.iter().all(|&at| &line[at - 1..at] == " " && &line[at..=at] != " "), "{printed}");
    }
    // Without the time and the service.
    let bare: Vec<String> = lines.iter().map(|line| line[columns[1]..].to_owned()).collect();
    let rows = rows(&bare, "INSTANCE");
    for (name, instance) in host.instances("web") {
        assert_eq!(without_rate(&rows[&name]), expected(&instance), "{printed}");
        assert_eq!(rows[&name][5], "0.0", "nobody connects: {printed}");
    }
}

engines! { lines_of_json_say_what_status_says: ebpf nft }
fn lines_of_json_say_what_status_says(engine: Engine) {
    let host = Host::new(engine);
    let _kept = busy(&host);
    let serve = Serve::start(&host, "", "--group games");
    let user = User::of(&host, &serve, "games");
    for printed in [host.wocut("top web --json --count 1"), user.wocut("top web --json --count 1")] {
        let read = |line: &str| serde_json::from_str(line).must("read a line as JSON");
        let told: Vec<Value> = printed.ok().stdout.lines().map(read).collect();
        assert_eq!(told.len(), 4, "{printed}");
        assert!(
            told[0]["instance"].is_null() && told[0]["picked"] == host.service("web")["picks"],
            "{printed}"
        );
        let instances = host.instances("web");
        for line in &told[1..] {
            let instance = &instances[line["instance"].as_str().must("read a name")];
            for key in
                ["admin", "health", "listening", "share", "picked", "active", "accept_queue", "failovers"]
            {
                assert_eq!(line[key], instance[key], "{key}: {printed}");
            }
            assert_eq!(line["rate"], 0.0, "nobody connects: {printed}");
        }
    }
}

engines! { lines_end_when_nobody_reads_them: ebpf }
fn lines_end_when_nobody_reads_them(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001");
    let mut watched = host.watch("top --interval 100ms");
    watched.next();
    watched.stop_reading();
    wait_until("wocut ends", Duration::from_secs(10), || watched.has_ended());
}

engines! { rows_have_colours_on_a_terminal_unless_somebody_wants_none: ebpf }
fn rows_have_colours_on_a_terminal_unless_somebody_wants_none(engine: Engine) {
    need!(tool("tmux"));
    let host = Host::new(engine);
    // Nobody listens, which is red.
    host.attach("web 80/tcp to 8001");
    for (before, arguments, expected) in [
        (&[][..], "status", true),
        (&["env", "NO_COLOR=1"], "status", false),
        (&["env", "TERM=dumb"], "status", false),
        (&["env", "NO_COLOR=1"], "--color always status", true),
        (&[], "--color never status", false),
    ] {
        let screen = Screen::start_under(&host, before, arguments);
        screen.shows_line("ended 0");
        assert_eq!(screen.has_colours(), expected, "{before:?} {arguments}");
    }
}
