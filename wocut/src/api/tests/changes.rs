//! Changes that shuttle did not have.

use serde_json::{Value, json};

use super::Stage;

#[tokio::test]
async fn patch_changes_what_it_names() {
    let stage = Stage::web();
    let before = stage.get("/web/_config").await.json();
    let patch = json!({"balance": "LC", "guard": true, "check": {
        "type": "tcp", "interval": "2s", "timeout": "1s", "rise": 2, "fall": 3}});
    let after = stage.ask("PATCH", "/web", patch.to_string()).await.json();
    assert_eq!((&after[0]["policy"], &after[0]["guard"]), (&json!("least-conn"), &json!(true)));
    assert_eq!(after[0]["backends"][1]["check_address"], json!(":8002"));
    assert_eq!(after[0]["listen"], before["listen"]);

    let after = stage.ask("PATCH", "/web", r#"{"check_interval":"10s"}"#).await.json();
    assert_eq!((&after[0]["check_interval"], &after[0]["fall"]), (&json!(10), &json!(3)));
    let after = stage.ask("PATCH", "/web", r#"{"check":null,"balance":null,"guard":null}"#).await.json();
    assert_eq!(after[0], before);

    let after = stage.ask("PATCH", "/web/b", r#"{"weight":9}"#).await.json();
    assert_eq!(after[0]["backends"][1]["weight"], json!(9));
    assert_eq!(after[0]["backends"][1]["address"], json!(":8002"));
}

#[tokio::test]
async fn operator_takes_a_backend_out_and_puts_do_not_bring_it_back() {
    let stage = Stage::web();
    for word in ["drain", "maint", "ready", "drain"] {
        let answer = stage.ask("POST", &format!("/web/a/_{word}"), "").await;
        assert_eq!(answer.json()[0]["backends"][0]["admin"], json!(word));
    }
    let answer = stage.ask("PUT", "/web/a", r#"{"address":"127.0.0.1:8001","weight":7}"#).await;
    assert_eq!(answer.json()[0]["backends"][0]["admin"], json!("drain"));
    let answer =
        stage.ask("PUT", "/web", r#"{"address":":80","backends":[{"address":"127.0.0.1:8001"}]}"#).await;
    assert_eq!(answer.json()[0]["backends"][0]["admin"], json!("drain"));
}

#[tokio::test]
async fn all_services_are_replaced_or_joined() {
    let stage = Stage::web();
    let api = r#"[{"name":"api","address":":81","backends":[{"address":":8003"}]}]"#;
    let names = |answer: Value| -> Vec<String> {
        answer.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().into()).collect()
    };
    for (method, path) in [("POST", "/_config"), ("PUT", "/"), ("POST", "/")] {
        assert_eq!(names(stage.ask(method, path, api).await.json()), ["api", "web"]);
    }
    assert_eq!(names(stage.ask("PUT", "/_config", api).await.json()), ["api"]);
    for nothing in ["[]", "{}", r#"{"services":[]}"#] {
        let answer = stage.ask("PUT", "/_config", nothing).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "[]"));
    }
}

#[tokio::test]
async fn change_of_a_state_that_is_gone_is_refused() {
    let stage = Stage::web();
    let first = stage.get("/_config").await;
    let tag = first.etag().to_owned();
    let put = r#"{"address":":81","backends":[{"address":":8003"}]}"#;
    let second = stage.ask_with("PUT", "/api", ("if-match", &tag), put).await;
    assert_eq!(second.status, 200);
    assert_ne!(second.etag(), tag);
    for (method, path) in [("PUT", "/api"), ("DELETE", "/web"), ("PATCH", "/web"), ("DELETE", "/web/a")] {
        let answer = stage.ask_with(method, path, ("if-match", &tag), put).await;
        assert_eq!(answer.refused().0, 412, "{method} {path}");
    }
    assert_eq!(stage.ask_with("PUT", "/api", ("if-none-match", "*"), put).await.refused().0, 412);
    assert_eq!(stage.get("/_config").await.etag(), second.etag());
    let known = stage.ask_with("GET", "/_config", ("if-none-match", second.etag()), "").await;
    assert_eq!((known.status.as_u16(), known.text.as_str()), (304, ""));
}

#[tokio::test]
async fn dry_run_tells_and_changes_nothing() {
    let stage = Stage::web();
    let before = stage.get("/_config").await;
    let answer = stage.ask("DELETE", "/web?dry_run=true", "").await;
    assert_eq!(answer.json(), json!({"change": "detached web", "warnings": ["one\nwarning"], "steps": []}));
    assert_eq!(stage.get("/_config").await.text, before.text);
}

#[tokio::test]
async fn what_was_done_is_in_headers_of_one_line() {
    let answer = Stage::web().ask("DELETE", "/web", "").await;
    assert_eq!(answer.headers["wocut-change"], "detached web");
    assert_eq!(answer.headers["wocut-warning"], "one; warning");
}

#[tokio::test]
async fn daemon_says_whether_it_is_ready() {
    let stage = Stage::web();
    assert_eq!(stage.get("/_live").await.text, "live\n");
    assert_eq!(stage.get("/_ready").await.refused().0, 503);
    stage.ready.send_replace(true);
    assert_eq!(stage.get("/_ready").await.status, 200);
}

#[tokio::test]
async fn log_is_turned_up_at_run_time() {
    let stage = Stage::web();
    assert_eq!(stage.ask("PUT", "/_log", "wocut=debug,info\n").await.json(), json!("wocut=debug,info"));
    for bad in ["", "bad", "a\nb"] {
        assert_eq!(stage.ask("PUT", "/_log", bad).await.refused().0, 422, "{bad:?}");
    }
}

#[tokio::test]
async fn metrics_are_read_when_asked_for() {
    let answer = Stage::web().get("/_metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text.contains("wocut_instance_picked_total{service=\"web\",instance=\"a\"} 1\n"));
    assert!(!answer.text.contains("received_bytes"), "what is unknown is not there");
}
