//! What `wocut` itself asks, in its own words, and told as it tells: so a command is the same with a daemon as without.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Api, answer, body,
    refusal::Refusal,
    request::{On, Sent, ServiceAt},
};
use crate::{error::Told, verb::Order};

/// What `wocut status --json` prints.
#[utoipa::path(get, path = "/_status", tag = "commands", responses((status = 200, body = Object)))]
pub(super) async fn read_status(State(api): State<Api>) -> Result<Response, Refusal> {
    answer(api.daemon.status(None).await)
}

/// The same of one service.
#[utoipa::path(get, path = "/_status/{service}", tag = "commands", params(("service" = String, Path)),
    responses((status = 200, body = Object)))]
pub(super) async fn service_status(
    State(api): State<Api>,
    ServiceAt(name): ServiceAt,
) -> Result<Response, Refusal> {
    answer(api.daemon.status(Some(name)).await)
}

/// The state file.
#[utoipa::path(get, path = "/_wanted", tag = "commands", responses((status = 200, body = Object)))]
pub(super) async fn read_wanted(State(api): State<Api>) -> Result<Response, Refusal> {
    answer(api.daemon.read_wanted().await)
}

/// Carries out a command that changes something.
#[utoipa::path(post, path = "/_change", tag = "commands", request_body = Object,
    responses((status = 200, body = Object)))]
pub(super) async fn post_change(
    State(api): State<Api>,
    on: On,
    Sent(bytes): Sent,
) -> Result<Response, Refusal> {
    let order: Order = read(&bytes)?;
    let order = Order { dry_run: order.dry_run || on.dry_run, ..order };
    answer(api.daemon.carry_out(on.who().into(), order).await)
}

/// Counts the open connections of those who are to go.
#[utoipa::path(post, path = "/_open", tag = "commands", request_body = Object,
    responses((status = 200, body = Object)))]
pub(super) async fn open_connections(State(api): State<Api>, Sent(bytes): Sent) -> Result<Response, Refusal> {
    answer(api.daemon.open(read(&bytes)?).await)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    body::shape(body::json(bytes)?)
}

fn answer<T: Serialize>(done: anyhow::Result<T>) -> Result<Response, Refusal> {
    match done {
        Ok(done) => Ok(answer::json(StatusCode::OK, &done)),
        Err(error) => Err(Refusal { told: Some(Box::new(Told::of(&error))), ..answer::refusal(&error) }),
    }
}
