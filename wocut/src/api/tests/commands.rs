//! What commands ask.

use serde_json::{Value, json};

use super::{Stage, request, user};
use crate::{
    departure::Departure,
    error::Told,
    host::Done,
    model::Wanted,
    status::Status,
    verb::{Order, Verb},
};

fn order(verb: Verb) -> String {
    serde_json::to_string(&Order { verb, force: false, dry_run: false, verbose: false }).unwrap()
}

fn drain(instance: &str) -> String {
    order(Verb::Empty(Departure::Drain("web".parse().unwrap(), instance.parse().unwrap())))
}

#[tokio::test]
async fn status_is_what_the_command_prints() {
    let stage = Stage::web();
    let all = stage.get("/_status").await;
    let status: Status = serde_json::from_str(&all.text).unwrap();
    assert_eq!(serde_json::to_string(&status).unwrap(), all.text);
    assert_eq!(status.services[0].instances[1].share.to_string(), "0.75");
    assert_eq!(stage.get("/_status/web").await.text, all.text);
    let wanted: Wanted = serde_json::from_str(&stage.get("/_wanted").await.text).unwrap();
    assert_eq!(wanted, crate::api::fixture::wanted());
    assert_eq!(all.headers["wocut-netns"], "1");
}

#[tokio::test]
async fn order_is_carried_out_or_only_rehearsed() {
    let stage = Stage::web();
    let done: Done =
        serde_json::from_str(&stage.ask("POST", "/_change?dry_run=true", drain("a")).await.text).unwrap();
    assert_eq!(done.line, "web/a is drain, was ready");
    assert_eq!(done.notes, ["engine ebpf: it is still"]);
    let admin = |wanted: &str| {
        serde_json::from_str::<Value>(wanted).unwrap()["services"]["web"]["instances"][0]["admin"].clone()
    };
    assert_eq!(admin(&stage.get("/_wanted").await.text), "ready");
    assert_eq!(stage.ask("POST", "/_change", drain("a")).await.status, 200);
    assert_eq!(admin(&stage.get("/_wanted").await.text), "drain");
    let who = serde_json::to_string(&Departure::Detach(None)).unwrap();
    assert_eq!(stage.ask("POST", "/_open", who).await.json(), json!({"ready": null, "open": 3}));
}

#[tokio::test]
async fn refusal_has_what_a_command_tells() {
    let stage = Stage::web();
    for (method, path, body, status, code) in [
        ("GET", "/_status/db", String::new(), 404, 4),
        ("POST", "/_change", drain("c"), 404, 4),
        ("POST", "/_change", order(Verb::Remove("web".parse().unwrap(), Vec::new())), 200, 0),
        ("POST", "/_change", order(Verb::Add("web".parse().unwrap(), vec!["a=9".parse().unwrap()])), 409, 5),
    ] {
        let answer = stage.ask(method, path, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        if status != 200 {
            let told: Told = serde_json::from_value(answer.json()["error"]["told"].clone()).unwrap();
            assert_eq!((told.exit_code, told.causes.len()), (code, 1), "{told:?}");
        }
    }
}

#[tokio::test]
async fn order_that_makes_no_sense_is_refused_and_names_no_program() {
    let stage = Stage::web();
    let exec = json!({"type": "exec", "command": ["/bin/true"]});
    for body in [
        json!([]),
        json!({"verb": "serve"}),
        json!({"verb": {"apply": {"services": [], "prune": true}}}),
        json!({"verb": {"detach": "../web"}}),
        json!({"verb": {"weight": ["web", "a", 257]}}),
        json!({"verb": "detach_all", "soon": true}),
        json!({"verb": {"attach": {"name": "x", "listen": ["81/tcp"], "instances": ["1"], "options": {},
            "engine": "auto", "check": exec}}}),
    ] {
        assert_eq!(stage.ask("POST", "/_change", body.to_string()).await.refused().0, 422, "{body}");
    }
    assert_eq!(stage.ask("POST", "/_change", "{").await.refused().0, 400);
}

#[tokio::test]
async fn reader_may_look_and_give_no_orders() {
    let stage = Stage::web();
    for (method, path, status) in [
        ("GET", "/_status", 200),
        ("GET", "/_wanted", 200),
        ("POST", "/_change", 403),
        ("POST", "/_open", 403),
    ] {
        let mut request = request(method, path, drain("a"));
        request.extensions_mut().insert(user(1000, 900));
        let answer = stage.send(request).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.headers["wocut-netns"], "1");
    }
}
