//! `/_config`: all services at once.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::{
    Api, ConfigShape, ServiceShape,
    answer::tagged,
    body,
    edit::Edit,
    etag::{self, Conditions},
    refusal::Refusal,
    render,
    request::{On, Sent},
    services::change,
};

/// The configuration of all services. It can be sent as it is to `PUT /_config`.
#[utoipa::path(get, path = "/_config", tag = "config",
    responses((status = 200, body = Vec<ServiceShape>), (status = 304, description = "It is the one of If-None-Match")))]
pub(super) async fn read_config(State(api): State<Api>, headers: HeaderMap) -> Response {
    let wanted = api.daemon.wanted();
    let tag = etag::of(&wanted);
    if Conditions::of(&headers).is_known(&tag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    tagged(&wanted, &render::config(&wanted))
}

/// Makes exactly these services wanted, in one change: all others end. A list, or an object with `services`.
#[utoipa::path(put, path = "/_config", tag = "config", request_body = ConfigShape,
    params(("force" = Option<bool>, Query), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn put_config(
    State(api): State<Api>,
    on: On,
    Sent(bytes): Sent,
) -> Result<Response, Refusal> {
    let services = body::config(body::json(&bytes)?)?;
    change(&api, on, Edit::Config { services, prune: true }).await
}

/// Makes or replaces these services, in one change: all others stay.
#[utoipa::path(post, path = "/_config", tag = "config", request_body = ConfigShape,
    params(("force" = Option<bool>, Query), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn post_config(
    State(api): State<Api>,
    on: On,
    Sent(bytes): Sent,
) -> Result<Response, Refusal> {
    let services = body::config(body::json(&bytes)?)?;
    change(&api, on, Edit::Config { services, prune: false }).await
}

/// As `POST /_config`: what later versions of shuttle have here.
#[utoipa::path(method(put, post), path = "/", tag = "config", request_body = ConfigShape,
    params(("force" = Option<bool>, Query), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn put_some(state: State<Api>, on: On, sent: Sent) -> Result<Response, Refusal> {
    post_config(state, on, sent).await
}
