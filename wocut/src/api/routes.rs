//! Which path and method leads where. The description of the API is made of the same table.

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, StatusCode},
    middleware::from_fn_with_state,
};
use utoipa::{
    OpenApi as _, PartialSchema as _, ToSchema as _,
    openapi::{
        Content, HttpMethod, OpenApi, RefOr, Response, Schema,
        path::{Operation, PathItem},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    answer::{ErrorBody, Trouble},
    backends, commands, config, events, gate, itself,
    refusal::Refusal,
    request::not_found,
    services, ui,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "wocut", description = "Services of one host, and the instances behind them"),
    tags(
        (name = "config", description = "What is wanted"),
        (name = "stats", description = "What happens"),
        (name = "commands", description = "What `wocut` itself asks, in its own words"),
        (name = "daemon", description = "The daemon itself"),
    )
)]
struct Base;

fn table() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(services::all_stats, config::put_some))
        .routes(routes!(services::stats_alias))
        .routes(routes!(config::read_config, config::put_config, config::post_config))
        .routes(routes!(commands::read_status))
        .routes(routes!(commands::service_status))
        .routes(routes!(commands::read_wanted))
        .routes(routes!(commands::post_change))
        .routes(routes!(commands::open_connections))
        .routes(routes!(itself::live))
        .routes(routes!(itself::is_ready))
        .routes(routes!(itself::read_metrics))
        .routes(routes!(events::events))
        .routes(routes!(itself::openapi))
        .routes(routes!(itself::put_log))
        .routes(routes!(ui::page))
        .routes(routes!(ui::file))
        .routes(routes!(
            services::service_stats,
            services::put_service,
            services::patch_service,
            services::delete_service
        ))
        .routes(routes!(services::service_stats_alias))
        .routes(routes!(services::service_config))
        .routes(routes!(
            backends::backend_stats,
            backends::put_backend,
            backends::patch_backend,
            backends::delete_backend
        ))
        .routes(routes!(backends::drain))
        .routes(routes!(backends::ready))
        .routes(routes!(backends::maint))
}

/// All that is served, behind what every request goes through.
pub(super) fn router(api: Api) -> Router {
    let (router, _) = table().split_for_parts();
    router
        .method_not_allowed_fallback(wrong_method)
        .fallback(nowhere)
        .layer(from_fn_with_state(api.clone(), gate::pass))
        .with_state(api)
}

async fn nowhere(request: Request) -> Refusal {
    not_found(request.uri().path())
}

async fn wrong_method(_: HeaderMap) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not have that method")
        .hint("`/_openapi.json` lists all paths and their methods")
}

/// The description of the API, as JSON.
pub(super) fn description() -> String {
    let (_, mut api) = table().split_for_parts();
    let mut schemas = vec![
        (ErrorBody::name().into_owned(), ErrorBody::schema()),
        (Trouble::name().into_owned(), Trouble::schema()),
    ];
    ErrorBody::schemas(&mut schemas);
    api.components.get_or_insert_default().schemas.extend(schemas);
    for item in api.paths.paths.values_mut() {
        describe(item);
    }
    pretty(&api)
}

fn pretty(api: &OpenApi) -> String {
    api.to_pretty_json().unwrap_or_default() + "\n"
}

/// Gives every operation a name of its own, and says what goes wrong looks like.
fn describe(item: &mut PathItem) {
    let methods = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Delete, &mut item.delete),
    ];
    for (method, operation) in methods {
        if let Some(operation) = operation {
            complete(&method, operation);
        }
    }
}

fn complete(method: &HttpMethod, operation: &mut Operation) {
    // One function that serves two methods has one name.
    if let (HttpMethod::Post, Some(name)) = (method, operation.operation_id.as_mut())
        && let Some(rest) = name.strip_prefix("put_")
    {
        *name = format!("post_{rest}");
    }
    let good = match method {
        HttpMethod::Get => "What is asked for",
        _ => "What is wanted then; of a dry run, what would be done",
    };
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = good.into();
        }
    }
    let schema: RefOr<Schema> = utoipa::openapi::Ref::from_schema_name(ErrorBody::name()).into();
    let mut wrong = Response::new("What goes wrong, whatever it is");
    wrong.content.insert("application/json".into(), Content::new(Some(schema)).into());
    operation.responses.responses.insert("default".into(), wrong.into());
}
