//! What is refused, and with which status.

use axum::body::Body;
use serde_json::{Value, json};

use super::{Stage, request, user};

#[tokio::test]
async fn body_that_cannot_be_read_is_a_bad_request() {
    let stage = Stage::web();
    let deep = "[".repeat(100_000);
    for body in [&b""[..], b"{", b"{\"address\":}", b"\xff\xfe\x00", b"{\"weight\":1e999}", deep.as_bytes()] {
        for (method, path) in [("PUT", "/web"), ("POST", "/web/a"), ("PATCH", "/web"), ("PUT", "/_config")] {
            let (status, code, _) = stage.ask(method, path, body.to_vec()).await.refused();
            assert_eq!((status, code.as_str()), (400, "bad_request"), "{method} {path}");
        }
    }
    assert_eq!(stage.ask("DELETE", "/web?force=maybe", "").await.refused().0, 400);
    assert_eq!(stage.ask("DELETE", "/web?from=here", "").await.refused().0, 400);
}

#[tokio::test]
async fn body_that_makes_no_sense_is_refused_with_its_place() {
    let with = |field: &str, value: Value| {
        let mut body = json!({"address": ":80", "backends": [{"address": ":8001"}]});
        body[field] = value;
        body
    };
    let backend = |backend: Value| with("backends", json!([{"address": ":8001"}, backend]));
    for (body, why) in [
        (json!([]), "not an object"),
        (json!({}), "wants an `address`"),
        (with("adress", json!(":80")), "unknown field `adress`"),
        (with("address", json!("web:80")), "address: `web:80`"),
        (with("address", json!(80)), "address: invalid type"),
        (with("address", json!(":80\r\nx")), "80\\r\\nx"),
        (with("network", json!("sctp")), "network: "),
        (with("listen", json!(["81/tcp"])), "do not agree"),
        (with("listen", json!([])), "listen: "),
        (with("balance", json!("WRR")), "balance: "),
        (with("policy", json!("best")), "policy: "),
        (with("client_timeout", json!(5)), "client_timeout: the kernel ends no idle"),
        (with("server_timeout", json!("500ms")), "server_timeout: "),
        (with("check_interval", json!(-1)), "check_interval: "),
        (with("check_interval", json!("soon")), "check_interval: "),
        (with("check", json!({"type": "magic"})), "check: "),
        (with("rise", json!(256)), "rise: "),
        (with("https-redirect", json!(true)), "https-redirect: "),
        (with("virtual_hosts", json!(["a.example"])), "virtual_hosts: "),
        (with("error_pages", json!({"http://x": [503]})), "error_pages: "),
        (with("maintenance_mode", json!(true)), "maintenance_mode: "),
        (with("name", json!("other")), "name: the path names"),
        (with("description", json!("a\nb")), "description: "),
        (backend(json!({})), "backends[1]: address: a backend wants one"),
        (backend(json!({"address": ":8002", "weight": 257})), "backends[1]: weight: "),
        (backend(json!({"address": ":8002", "weight": -1})), "backends[1].weight: "),
        (backend(json!({"address": ":8002", "admin": "off"})), "backends[1]: admin: "),
        (backend(json!({"address": ":8002", "network": "udp"})), "does not listen on udp"),
        (backend(json!({"address": ":8002", "check_address": "nowhere"})), "check_address: "),
        (backend(json!({"address": ":8002", "name": "a b"})), "backends[1]: name: "),
        (backend(json!({"address": ":8001"})), "is there twice"),
        (backend(json!({"address": ":80"})), "service's own port"),
    ] {
        let answer = Stage::empty().ask("PUT", "/web", body.to_string()).await;
        let (status, code, message) = answer.refused();
        assert_eq!((status, code.as_str()), (422, "unprocessable"), "{body}: {message}");
        assert!(message.contains(why), "{body}: {message}");
    }
}

#[tokio::test]
async fn config_as_a_whole_is_refused_with_its_place() {
    for (body, why) in [
        (json!("web"), "neither a list"),
        (json!([{"address": ":80"}]), "services[0]: name: "),
        (json!([{"name": "_a", "address": ":80"}]), "services[0]: name: "),
        (json!([{"name": "a", "address": ":80"}, {"name": "a", "address": ":81"}]), "there already"),
        (json!({"service": []}), "unknown field `service`"),
        (
            json!([{"name": "a", "address": ":80", "backends": [{"wait": 1}]}]),
            "[0].backends[0].wait: unknown field",
        ),
    ] {
        let (status, _, message) = Stage::empty().ask("PUT", "/_config", body.to_string()).await.refused();
        assert_eq!(status, 422, "{body}: {message}");
        assert!(message.contains(why), "{body}: {message}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let stage = Stage::web();
    for (method, path) in [
        ("GET", "/none"),
        ("GET", "/web/none"),
        ("GET", "/none/a"),
        ("GET", "/none/_config"),
        ("GET", "/_none"),
        ("GET", "/web/a/b/c"),
        ("GET", "/web/"),
        ("GET", "/%2e%2e"),
        ("GET", "/%2e%2e/%2e%2e"),
        ("GET", "/../etc"),
        ("GET", "/a%0ab"),
        ("GET", "/%ff"),
        ("GET", "/a%00"),
        ("DELETE", "/none"),
        ("DELETE", "/web/none"),
        ("PATCH", "/none"),
        ("PATCH", "/web/none"),
        ("PUT", "/none/a"),
        ("POST", "/web/none/_drain"),
    ] {
        let (status, code, message) = stage.ask(method, path, r#"{"address":":8009"}"#).await.refused();
        assert_eq!((status, code.as_str()), (404, "not_found"), "{method} {path}: {message}");
    }
    assert_eq!(stage.get(&format!("/{}", "a".repeat(200))).await.refused().0, 404);
}

#[tokio::test]
async fn name_that_cannot_be_is_refused() {
    let stage = Stage::web();
    for path in
        ["/%2e%2e", "/..%2f..", "/a%0ab", "/a%00b", "/_mine", "/web/_mine", "/-a", "/web/%20", "/%c3%a4"]
    {
        let (status, _, message) = stage.ask("PUT", path, r#"{"address":":8009"}"#).await.refused();
        assert_eq!(status, 422, "{path}: {message}");
        assert!(!message.contains('\n') && !message.contains('\0'), "{message:?}");
    }
    let long = format!("/{}", "a".repeat(200));
    assert_eq!(stage.ask("PUT", &long, r#"{"address":":8009"}"#).await.refused().0, 422);
    assert!(stage.ask("PUT", "/_mine", "{}").await.refused().2.contains("reserved"));
}

#[tokio::test]
async fn method_that_a_path_does_not_have_is_told() {
    let stage = Stage::web();
    for (method, path, allow) in [
        ("DELETE", "/", "GET"),
        ("GET", "/web/a/_drain", "POST"),
        ("PUT", "/_live", "GET"),
        ("DELETE", "/_config", "GET"),
        ("GET", "/_log", "PUT"),
        ("TRACE", "/web", "PATCH"),
    ] {
        let answer = stage.ask(method, path, "").await;
        assert_eq!(answer.refused().0, 405, "{method} {path}");
        assert!(answer.headers["allow"].to_str().unwrap().contains(allow));
    }
    assert_eq!(stage.ask("HEAD", "/web", "").await.status, 200);
}

#[tokio::test]
async fn what_is_in_the_way_is_a_conflict() {
    let stage = Stage::web();
    let (status, code, message) = stage.ask("PUT", "/other", r#"{"address":":80"}"#).await.refused();
    assert_eq!((status, code.as_str()), (409, "conflict"));
    assert!(message.contains("service `web` listens on 80/tcp already"), "{message}");
}

#[tokio::test]
async fn body_that_is_too_long_is_refused_by_what_it_announces() {
    let stage = Stage::web();
    let announced = stage.ask_with("PUT", "/web", ("content-length", "1000000000"), "{}").await;
    assert_eq!(announced.refused().0, 413);
    let sent = stage.ask("PUT", "/web", Body::from(vec![b' '; stage.limits.body_size + 1])).await;
    assert_eq!(sent.refused().1, "too_large");
    let fits = stage.ask("PUT", "/web", Body::from(vec![b' '; stage.limits.body_size])).await;
    assert_eq!(fits.refused().0, 400);
}

#[tokio::test]
async fn header_that_is_too_long_is_refused() {
    let stage = Stage::web();
    let long = "x".repeat(stage.limits.header_size);
    assert_eq!(stage.ask_with("GET", "/", ("x-long", &long), "").await.refused().0, 431);
    let mut many = request("GET", "/", "");
    for i in 0..=stage.limits.header_fields {
        let name: axum::http::HeaderName = format!("x-{i}").parse().unwrap();
        many.headers_mut().insert(name, "x".parse().unwrap());
    }
    assert_eq!(stage.send(many).await.refused().1, "headers_too_large");
}

#[tokio::test]
async fn reader_changes_nothing_and_strangers_see_nothing() {
    let stage = Stage::web();
    for (caller, method, status) in [
        (user(1000, 900), "GET", 200),
        (user(1000, 900), "DELETE", 403),
        (user(1000, 1000), "GET", 403),
        (super::Caller::Tcp("127.0.0.1:1".parse().unwrap()), "DELETE", 403),
    ] {
        let mut request = request(method, "/web", "");
        request.extensions_mut().insert(caller);
        assert_eq!(stage.send(request).await.status, status);
    }
}
