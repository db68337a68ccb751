//! What of a request a handler wants: whom it is about, on which terms, and its body.

use axum::{
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request},
    http::{Method, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use tokio::time::timeout;

use super::{Api, daemon::Asked, edit::Edit, etag::Conditions, refusal::Refusal};
use crate::model::Name;

/// Who asks, for the log.
#[derive(Clone, Debug)]
pub(super) struct Who(pub(super) String);

/// The service in the path.
pub(super) struct ServiceAt(pub(super) Name);

/// The service and the backend in the path.
pub(super) struct BackendAt(pub(super) Name, pub(super) Name);

/// On which terms a change is asked for.
pub(super) struct On {
    who: String,
    conditions: Conditions,
    force: bool,
    pub(super) dry_run: bool,
}

/// The body, whole.
pub(super) struct Sent(pub(super) Bytes);

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Flags {
    force: bool,
    dry_run: bool,
}

impl On {
    pub(super) fn who(&self) -> &str {
        &self.who
    }

    pub(super) fn ask(self, edit: Edit) -> Asked {
        let Self { who, conditions, force, dry_run } = self;
        Asked { who, conditions, edit, force, dry_run }
    }
}

impl FromRequestParts<Api> for On {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Refusal> {
        let Query(Flags { force, dry_run }) = Query::try_from_uri(&parts.uri).map_err(|error| {
            Refusal::bad(format!("the query is not understood: {}", error.body_text()))
                .hint("there are `?force=true` and `?dry_run=true`")
        })?;
        let who = parts.extensions.get::<Who>().map_or_else(|| "somebody".into(), |Who(who)| who.clone());
        Ok(Self { who: format!("api: {who}"), conditions: Conditions::of(&parts.headers), force, dry_run })
    }
}

impl FromRequestParts<Api> for ServiceAt {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refusal> {
        Ok(Self(name(parts, api, "service").await?))
    }
}

impl FromRequestParts<Api> for BackendAt {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refusal> {
        Ok(Self(name(parts, api, "service").await?, name(parts, api, "backend").await?))
    }
}

/// A name in the path. One that cannot be a name is not found, and cannot be made.
async fn name(parts: &mut Parts, api: &Api, part: &str) -> Result<Name, Refusal> {
    let nothing = || not_found(parts.uri.path());
    let nothing = nothing();
    let is_made = [Method::PUT, Method::POST, Method::PATCH].contains(&parts.method);
    let params = RawPathParams::from_request_parts(parts, api).await.map_err(|_| nothing.clone())?;
    let text = params.iter().find(|(key, _)| *key == part).map(|(_, text)| text).unwrap_or_default();
    if is_made && text.starts_with('_') {
        return Err(Refusal::unprocessable(format!("{part}: names that begin with `_` are reserved")));
    }
    text.parse().map_err(|error| if is_made { Refusal::field(part, &error) } else { nothing })
}

/// There is nothing under a path.
pub(super) fn not_found(path: &str) -> Refusal {
    let what = format!("there is nothing at `{}`", super::place::shown(path));
    Refusal::new(StatusCode::NOT_FOUND, what).hint("`/_openapi.json` lists all paths")
}

impl FromRequest<Api> for Sent {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Refusal> {
        let most = api.limits.body_size;
        let too_large =
            || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {most} bytes"));
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if announced.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > most as u64)
        {
            return Err(too_large());
        }
        let whole = Limited::new(request.into_body(), most).collect();
        match timeout(api.limits.body, whole).await {
            Ok(Ok(whole)) => Ok(Self(whole.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err(Refusal::bad(format!("the body did not come: {error}"))),
            Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to come")),
        }
    }
}
