//! `/{service}/{backend}`: figures of a backend, its configuration, and what the operator wants of it.

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    Api, BackendShape, BackendStats, ServiceShape,
    answer::json,
    body,
    edit::Edit,
    refusal::Refusal,
    request::{BackendAt, On, Sent},
    services::{backend_figures, change},
};
use crate::model::Admin;

/// The figures of one backend.
#[utoipa::path(get, path = "/{service}/{backend}", tag = "stats",
    params(("service" = String, Path), ("backend" = String, Path)),
    responses((status = 200, body = BackendStats)))]
pub(super) async fn backend_stats(
    State(api): State<Api>,
    BackendAt(service, backend): BackendAt,
) -> Result<Response, Refusal> {
    Ok(json(StatusCode::OK, &backend_figures(&api, service, backend).await?))
}

/// Adds a backend, or replaces one. Open connections of the old one stay.
#[utoipa::path(method(put, post), path = "/{service}/{backend}", tag = "config", request_body = BackendShape,
    params(("service" = String, Path), ("backend" = String, Path),
        ("force" = Option<bool>, Query), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn put_backend(
    State(api): State<Api>,
    BackendAt(service, backend): BackendAt,
    on: On,
    Sent(bytes): Sent,
) -> Result<Response, Refusal> {
    let shape = body::shape(body::json(&bytes)?)?;
    change(&api, on, Edit::PutBackend(service, backend, shape)).await
}

/// Changes a part of a backend: what the body does not say stays, and what is null is as usual.
#[utoipa::path(patch, path = "/{service}/{backend}", tag = "config", request_body = BackendShape,
    params(("service" = String, Path), ("backend" = String, Path),
        ("force" = Option<bool>, Query), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn patch_backend(
    State(api): State<Api>,
    BackendAt(service, backend): BackendAt,
    on: On,
    Sent(bytes): Sent,
) -> Result<Response, Refusal> {
    let mut value = body::json(&bytes)?;
    let nulls = body::take_nulls(&mut value);
    change(&api, on, Edit::PatchBackend(service, backend, body::shape(value)?, nulls)).await
}

/// Takes a backend away. Its open connections stay.
#[utoipa::path(delete, path = "/{service}/{backend}", tag = "config",
    params(("service" = String, Path), ("backend" = String, Path), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn delete_backend(
    State(api): State<Api>,
    BackendAt(service, backend): BackendAt,
    on: On,
) -> Result<Response, Refusal> {
    change(&api, on, Edit::DeleteBackend(service, backend)).await
}

/// Gives a backend no new connections; the open ones stay.
#[utoipa::path(post, path = "/{service}/{backend}/_drain", tag = "config",
    params(("service" = String, Path), ("backend" = String, Path), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn drain(State(api): State<Api>, at: BackendAt, on: On) -> Result<Response, Refusal> {
    admin(&api, at, on, Admin::Drain).await
}

/// Gives a backend new connections again.
#[utoipa::path(post, path = "/{service}/{backend}/_ready", tag = "config",
    params(("service" = String, Path), ("backend" = String, Path), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn ready(State(api): State<Api>, at: BackendAt, on: On) -> Result<Response, Refusal> {
    admin(&api, at, on, Admin::Ready).await
}

/// As `_drain`, and it is not checked.
#[utoipa::path(post, path = "/{service}/{backend}/_maint", tag = "config",
    params(("service" = String, Path), ("backend" = String, Path), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn maint(State(api): State<Api>, at: BackendAt, on: On) -> Result<Response, Refusal> {
    admin(&api, at, on, Admin::Maint).await
}

async fn admin(api: &Api, at: BackendAt, on: On, admin: Admin) -> Result<Response, Refusal> {
    let BackendAt(service, backend) = at;
    change(api, on, Edit::Admin(service, backend, admin)).await
}
