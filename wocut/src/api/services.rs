//! `/` and `/{service}`: figures of services, and their configuration.

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    Api, BackendStats, ServiceShape, ServiceStats, answer,
    answer::{json, refusal, tagged},
    body,
    edit::Edit,
    refusal::Refusal,
    render,
    request::{On, Sent, ServiceAt},
    stats,
};
use crate::{
    host,
    model::{Definition, Name},
    plan::ChangeError,
};

/// The figures of all services.
#[utoipa::path(get, path = "/", tag = "stats", responses((status = 200, body = Vec<ServiceStats>)))]
pub(super) async fn all_stats(State(api): State<Api>) -> Result<Response, Refusal> {
    Ok(json(StatusCode::OK, &figures(&api, None).await?))
}

/// The figures of all services.
#[utoipa::path(get, path = "/_stats", tag = "stats", responses((status = 200, body = Vec<ServiceStats>)))]
pub(super) async fn stats_alias(state: State<Api>) -> Result<Response, Refusal> {
    all_stats(state).await
}

/// The figures of one service.
#[utoipa::path(get, path = "/{service}", tag = "stats", params(("service" = String, Path)),
    responses((status = 200, body = ServiceStats)))]
pub(super) async fn service_stats(State(api): State<Api>, at: ServiceAt) -> Result<Response, Refusal> {
    let ServiceAt(name) = at;
    match figures(&api, Some(name.clone())).await?.pop() {
        Some(stats) => Ok(json(StatusCode::OK, &stats)),
        None => Err(refusal(&ChangeError::NoService(name).into())),
    }
}

/// The figures of one service.
#[utoipa::path(get, path = "/{service}/_stats", tag = "stats", params(("service" = String, Path)),
    responses((status = 200, body = ServiceStats)))]
pub(super) async fn service_stats_alias(state: State<Api>, at: ServiceAt) -> Result<Response, Refusal> {
    service_stats(state, at).await
}

/// The configuration of one service, with the tag of all of it.
#[utoipa::path(get, path = "/{service}/_config", tag = "config", params(("service" = String, Path)),
    responses((status = 200, body = ServiceShape)))]
pub(super) async fn service_config(
    State(api): State<Api>,
    ServiceAt(name): ServiceAt,
) -> Result<Response, Refusal> {
    let wanted = api.daemon.wanted();
    let service = host::service(&wanted, &name).map_err(|error| refusal(&error.into()))?;
    Ok(tagged(&wanted, &render::service(&Definition::of(&name, service))))
}

/// Makes a service, or replaces one: what the body does not say is as usual.
#[utoipa::path(method(put, post), path = "/{service}", tag = "config", request_body = ServiceShape,
    params(("service" = String, Path), ("force" = Option<bool>, Query), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn put_service(
    State(api): State<Api>,
    ServiceAt(name): ServiceAt,
    on: On,
    Sent(bytes): Sent,
) -> Result<Response, Refusal> {
    let shape = body::shape(body::json(&bytes)?)?;
    change(&api, on, Edit::Put(name, Box::new(shape))).await
}

/// Changes a part of a service: what the body does not say stays, and what is null is as usual.
#[utoipa::path(patch, path = "/{service}", tag = "config", request_body = ServiceShape,
    params(("service" = String, Path), ("force" = Option<bool>, Query), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn patch_service(
    State(api): State<Api>,
    ServiceAt(name): ServiceAt,
    on: On,
    Sent(bytes): Sent,
) -> Result<Response, Refusal> {
    let mut value = body::json(&bytes)?;
    let nulls = body::take_nulls(&mut value);
    change(&api, on, Edit::Patch(name, Box::new(body::shape(value)?), nulls)).await
}

/// Ends a service. Open connections stay.
#[utoipa::path(delete, path = "/{service}", tag = "config",
    params(("service" = String, Path), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = Vec<ServiceShape>)))]
pub(super) async fn delete_service(
    State(api): State<Api>,
    ServiceAt(name): ServiceAt,
    on: On,
) -> Result<Response, Refusal> {
    change(&api, on, Edit::Delete(name)).await
}

/// Makes a change, and answers with what is wanted then.
pub(super) async fn change(api: &Api, on: On, edit: Edit) -> Result<Response, Refusal> {
    let dry_run = on.dry_run;
    let done = api.daemon.change(on.ask(edit)).await.map_err(|error| refusal(&error))?;
    Ok(if dry_run { answer::dry_run(done) } else { answer::changed(&api.daemon.wanted(), &done) })
}

/// The figures of all services, or of one.
pub(super) async fn figures(api: &Api, only: Option<Name>) -> Result<Vec<ServiceStats>, Refusal> {
    let status = api.daemon.status(only).await.map_err(|error| refusal(&error))?;
    Ok(stats::of(&api.daemon.wanted(), status, |id| api.daemon.checked(id)))
}

/// The figures of one backend.
pub(super) async fn backend_figures(api: &Api, name: Name, backend: Name) -> Result<BackendStats, Refusal> {
    let services = figures(api, Some(name.clone())).await?;
    let mut backends = services.into_iter().flat_map(|service| service.backends);
    let found = backends.find(|found| found.name == backend);
    found.ok_or_else(|| refusal(&ChangeError::NoInstance(name, backend).into()))
}
