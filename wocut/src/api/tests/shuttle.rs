//! What clients of shuttle send and expect.

use serde_json::{Value, json};

use super::Stage;

/// A service as shuttle's own programs write it: all of its fields, in its order.
const SERVICE: &str = r#"{"name":"pg","address":"127.0.0.1:5432","backends":[
    {"name":"one","address":"127.0.0.1:6001","check_address":"127.0.0.1:6001","weight":1},
    {"name":"two","address":"127.0.0.1:6002","check_address":"127.0.0.1:6002","weight":2}],
    "balance":"LC","check_interval":5,"fall":3,"rise":2,
    "client_timeout":0,"server_timeout":0,"connect_timeout":2}"#;

#[tokio::test]
async fn service_is_put_and_read_back() {
    let stage = Stage::empty();
    let put = stage.ask("PUT", "/pg", SERVICE).await;
    assert_eq!(put.status, 200, "{}", put.text);
    assert_eq!(put.headers["content-type"], "application/json");
    let sent: Value = serde_json::from_str(SERVICE).unwrap();
    let config = put.json();
    for field in sent.as_object().unwrap().keys().filter(|field| *field != "backends") {
        assert_eq!(config[0][field], sent[field], "{field}");
    }
    for i in 0..2 {
        for field in ["name", "address", "check_address", "weight"] {
            assert_eq!(config[0]["backends"][i][field], sent["backends"][i][field], "{field}");
        }
    }
    assert_eq!(stage.get("/_config").await.json(), config);
    assert_eq!(stage.get("/pg/_config").await.json(), config[0]);
    assert!(!put.text.contains(": ") && !put.text.contains('\n'), "compact: {}", put.text);
}

#[tokio::test]
async fn fields_mean_what_they_mean_to_shuttle() {
    for (body, field, value) in [
        (json!({"address": "0.0.0.0:80"}), "listen", json!(["80/tcp"])),
        (json!({"address": ":80"}), "listen", json!(["80/tcp"])),
        (json!({"address": "80"}), "address", json!("0.0.0.0:80")),
        (json!({"address": "127.0.0.1:53", "network": "udp"}), "listen", json!(["127.0.0.1:53/udp"])),
        (json!({"address": ":80"}), "balance", json!("RR")),
        (json!({"address": ":80", "balance": ""}), "policy", json!("round-robin")),
        (json!({"address": ":80", "balance": "LC"}), "policy", json!("least-conn")),
        (json!({"address": ":80", "policy": "sticky"}), "balance", Value::Null),
        (json!({"address": ":80", "check_interval": 0}), "check", Value::Null),
        (json!({"listen": ["80/tcp", "[::1]:81/tcp"]}), "address", json!("0.0.0.0:80")),
        (json!({"listen": ["80/tcp"], "address": "0.0.0.0:80"}), "listen", json!(["80/tcp"])),
        (json!({"address": ":80", "maintenance_mode": false, "virtual_hosts": []}), "guard", json!(false)),
    ] {
        let stage = Stage::empty();
        let answer = stage.ask("POST", "/web", body.to_string()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text);
        assert_eq!(answer.json()[0][field], value, "{body}");
    }
}

#[tokio::test]
async fn backends_are_configured_separately() {
    let stage = Stage::empty();
    stage.ask("PUT", "/web", r#"{"address":":80"}"#).await;
    for (method, body) in
        [("PUT", r#"{"address":"127.0.0.1:8001"}"#), ("POST", r#"{"address":":8001","weight":4}"#)]
    {
        let answer = stage.ask(method, "/web/a", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let config = stage.get("/_config").await.json();
    let only = json!([{"name": "a", "address": ":8001", "check_address": "", "weight": 4, "admin": "ready", "backup": false}]);
    assert_eq!(config[0]["backends"], only);
    assert_eq!(stage.ask("DELETE", "/web/a", "").await.json()[0]["backends"], json!([]));
    assert_eq!(stage.ask("DELETE", "/web", "").await.json(), json!([]));
    assert_eq!(stage.get("/").await.json(), json!([]));
}

#[tokio::test]
async fn config_that_was_read_can_be_sent_again() {
    let stage = Stage::empty();
    stage.ask("PUT", "/pg", SERVICE).await;
    let all = r#"{"address":":80","policy":"sticky","sticky_prefix":"24,48","on_empty":"reject","guard":true,
        "description":"the shop","check":{"type":"http","path":"/up","interval":"2s","timeout":"500ms","rise":1,"fall":1},
        "listen":["80/tcp","[::1]:81/tcp"],"hook":"tc","allow_degraded":true,"engine":"ebpf",
        "backends":[{"address":":8001","weight":0,"admin":"maint"}]}"#;
    let answer = stage.ask("PUT", "/web", all).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let before = stage.get("/_config").await;
    for body in [before.text.clone(), format!("{{\"services\":{}}}", before.text)] {
        let after = stage.ask("PUT", "/_config", body).await;
        assert_eq!(after.status, 200, "{}", after.text);
        assert_eq!((after.text.as_str(), after.etag()), (before.text.as_str(), before.etag()));
        assert_eq!(after.headers["wocut-change"], "pg: as wanted; web: as wanted");
    }
}

#[tokio::test]
async fn stats_have_shuttles_fields() {
    let stage = Stage::web();
    let all = stage.get("/").await;
    let service = stage.get("/web").await;
    assert_eq!(all.json()[0], service.json());
    assert_eq!(stage.get("/_stats").await.text, all.text);
    assert_eq!(stage.get("/web/_stats").await.text, service.text);
    assert!(!all.headers.contains_key("etag"));
    let (service, backend) = (service.json(), stage.get("/web/a").await.json());
    let fields = "name address backends balance check_interval fall rise client_timeout server_timeout connect_timeout \
                  sent received errors connections active";
    assert!(fields.split_ascii_whitespace().all(|field| service.get(field).is_some()), "{service}");
    let fields = "name address check_address up weight sent received errors connections active check_success check_fail";
    assert!(fields.split_ascii_whitespace().all(|field| backend.get(field).is_some()), "{backend}");
    assert_eq!(service["backends"][0], backend);
}
