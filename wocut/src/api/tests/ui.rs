//! The page for people.

use axum::body::Body;

use super::{Stage, request};
use crate::api::{access::Caller, ui::FILES};

#[tokio::test]
async fn page_and_what_it_loads_can_run_nothing_from_elsewhere() {
    let stage = Stage::empty();
    for (name, kind, text) in FILES {
        let answer = stage.get(&format!("/_ui{name}")).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, text), "{name}");
        let header = |name: &str| answer.headers[name].to_str().unwrap();
        assert_eq!(header("content-type"), kind);
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-cache");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && policy.ends_with("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    }
}

#[tokio::test]
async fn page_that_a_browser_has_is_not_sent_again() {
    let stage = Stage::empty();
    let tag = stage.get("/_ui").await.etag().to_owned();
    let again = stage.ask_with("GET", "/_ui", ("if-none-match", &tag), "").await;
    assert_eq!((again.status.as_u16(), again.text.as_str(), again.etag()), (304, "", tag.as_str()));
    assert_eq!(again.headers["cache-control"], "no-cache");
    let other = stage.ask_with("GET", "/_ui/script.js", ("if-none-match", &tag), "").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn nothing_else_is_there() {
    let stage = Stage::web();
    for path in ["/_ui/", "/_ui/mod.rs", "/_ui/_config", "/_ui/%2e%2e", "/_ui/%ff"] {
        assert_eq!(stage.get(path).await.refused().0, 404, "{path}");
    }
    assert_eq!(stage.ask("POST", "/_ui", "").await.refused().0, 405);
    assert_eq!(stage.ask("PUT", "/_ui", r#"{"address":":81"}"#).await.refused().0, 405);
}

/// What a script or the policy would refuse is not there, and what is named is.
#[test]
fn files_name_each_other_and_run_no_text() {
    let names: Vec<&str> = FILES.iter().map(|(name, ..)| *name).collect();
    for (name, _, text) in FILES {
        let loaded = ["\"_ui/", "\"./"].into_iter().flat_map(|start| text.split(start).skip(1));
        for rest in loaded {
            let file = format!("/{}", rest.split('"').next().unwrap());
            assert!(names.contains(&file.as_str()), "{name} names {file}");
        }
        for never in
            ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", " style=", " onclick="]
        {
            assert!(!text.contains(never), "{name} has {never}");
        }
        let hosts = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!hosts.contains("://") && !hosts.contains("@import") && !hosts.contains("url("), "{name}");
    }
}

#[tokio::test]
async fn answers_say_what_may_be_done() {
    let stage = Stage::web();
    assert_eq!(stage.get("/_stats").await.headers["wocut-access"], "write");
    let mut read = request("GET", "/_stats", Body::empty());
    read.extensions_mut().insert(super::user(1000, 900));
    assert_eq!(stage.send(read).await.headers["wocut-access"], "read");
    let mut stranger = request("GET", "/_stats", Body::empty());
    stranger.extensions_mut().insert(Caller::Tcp(([192, 0, 2, 1], 4000).into()));
    let answer = stage.send(stranger).await;
    assert_eq!(answer.refused().0, 403);
    assert!(!answer.headers.contains_key("wocut-access"));
}
