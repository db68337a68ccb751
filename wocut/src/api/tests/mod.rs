//! The room as its clients meet it, without a kernel below.

mod changes;
mod commands;
mod fuzz;
mod openapi;
mod refusals;
mod shuttle;
mod sockets;
mod ui;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::sync::{broadcast, watch};
use tower::ServiceExt as _;

use super::{
    Limits, Shared,
    access::{Access, Caller},
    daemon::Daemon,
    fixture,
    gate::Counter,
    routes,
};
use crate::{model::Wanted, sys::peer::Peer};

/// A daemon, and what is behind it.
struct Stage {
    router: Router,
    ready: watch::Sender<bool>,
    end: watch::Sender<bool>,
    limits: Limits,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn etag(&self) -> &str {
        self.headers["etag"].to_str().unwrap()
    }

    /// What went wrong, in the one shape that there is.
    fn refused(&self) -> (u16, String, String) {
        let json = self.json();
        let error = &json["error"];
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        let mut keys: Vec<&String> = error.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["code", "hint", "message", "request_id"]);
        assert_eq!(error["request_id"].as_str().unwrap(), self.headers["x-request-id"]);
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), text("code"), text("message"))
    }
}

impl Stage {
    /// With the service of the fixture.
    fn web() -> Self {
        Self::of(fixture::wanted(), Limits::default())
    }

    /// Without any.
    fn empty() -> Self {
        Self::of(Wanted::empty(None), Limits::default())
    }

    fn of(wanted: Wanted, limits: Limits) -> Self {
        let (ready, is_ready) = watch::channel(false);
        let (end, ending) = watch::channel(false);
        let shared = Shared {
            daemon: Daemon::Still(watch::Sender::new(Arc::new(wanted)), broadcast::Sender::new(8)),
            access: Access { readers: Some(900), own: 50, ..Access::default() },
            ready: is_ready,
            set_log: Box::new(|filter| if filter == "bad" { Err("it is bad".into()) } else { Ok(()) }),
            limits,
            openapi: String::new(),
            ending,
            requests: Counter::default(),
        };
        Self { router: routes::router(Arc::new(shared).into()), ready, end, limits }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.into()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn ask(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        self.send(request(method, path, body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Body::empty()).await
    }

    /// With a header.
    async fn ask_with(
        &self,
        method: &str,
        path: &str,
        header: (&str, &str),
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = request(method, path, body);
        let name: axum::http::HeaderName = header.0.parse().unwrap();
        request.headers_mut().insert(name, header.1.parse().unwrap());
        self.send(request).await
    }
}

/// Of root, over the Unix socket.
fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).extension(user(0, 0));
    request.body(body.into()).unwrap()
}

fn user(uid: u32, group: u32) -> Caller {
    Caller::Unix(Peer { pid: 1, uid, groups: vec![group] })
}

/// So short that a test that waits for it does not notice.
fn short() -> Limits {
    let soon = Duration::from_millis(50);
    Limits { header: soon, body: soon, answer: 4 * soon, write: soon, end: soon, ..Limits::default() }
}
