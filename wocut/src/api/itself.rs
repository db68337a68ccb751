//! What the daemon says of itself: whether it lives and is ready, its metrics, its log and its API.

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    Api,
    answer::{json, refusal, text},
    refusal::Refusal,
    request::{On, Sent},
};
use crate::metrics;

/// The longest filter of a log.
const FILTER: usize = 1024;

/// Says that the daemon lives.
#[utoipa::path(get, path = "/_live", tag = "daemon", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn live() -> Response {
    text("text/plain; charset=utf-8", "live\n")
}

/// Says whether services are as wanted since the daemon started.
#[utoipa::path(get, path = "/_ready", tag = "daemon", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn is_ready(State(api): State<Api>) -> Result<Response, Refusal> {
    if *api.ready.borrow() {
        return Ok(text("text/plain; charset=utf-8", "ready\n"));
    }
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "services are not as wanted yet"))
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/_metrics", tag = "daemon", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn read_metrics(State(api): State<Api>) -> Result<Response, Refusal> {
    let status = api.daemon.status(None).await.map_err(|error| refusal(&error))?;
    let page =
        metrics::page(&api.daemon.wanted(), &status, &api.daemon.event_counts(), |id| api.daemon.checked(id));
    Ok(text(metrics::CONTENT_TYPE, page))
}

/// This description.
#[utoipa::path(get, path = "/_openapi.json", tag = "daemon", responses((status = 200, body = Object)))]
pub(super) async fn openapi(State(api): State<Api>) -> Response {
    text("application/json", api.openapi.clone())
}

/// Changes what is logged, until the daemon ends: a level, or a filter as in `wocut=debug,info`.
#[utoipa::path(put, path = "/_log", tag = "daemon", request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = String)))]
pub(super) async fn put_log(State(api): State<Api>, on: On, Sent(bytes): Sent) -> Result<Response, Refusal> {
    let filter = std::str::from_utf8(&bytes)
        .map_err(|error| Refusal::bad(format!("the body is no UTF-8: {error}")))?;
    let filter = filter.trim();
    if filter.is_empty() || filter.len() > FILTER || filter.contains(char::is_control) {
        let what = "a filter is one line, as in `debug` or `wocut=debug,info`";
        return Err(Refusal::unprocessable(what));
    }
    if !on.dry_run {
        (api.set_log)(filter)
            .map_err(|why| Refusal::unprocessable(format!("the filter is not understood: {why}")))?;
        tracing::warn!(who = on.who(), "the log's filter is {filter}");
    }
    Ok(json(StatusCode::OK, &filter))
}
