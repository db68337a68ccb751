//! Answers: JSON of what is asked for, and one shape for everything that goes wrong.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{etag, refusal::Refusal, render};
use crate::{
    conflicts::Conflicts,
    engine::ebpf::{Foreign, OtherVersion},
    error::{FallsShort, Told, Usage, causes, hint, one_line},
    host::Done,
    model::{ParseError, Wanted},
    plan::ChangeError,
};

/// Says what was changed.
const CHANGE: HeaderName = HeaderName::from_static("wocut-change");
/// Says what could not be done, or is in the way; once for each.
const WARNING: HeaderName = HeaderName::from_static("wocut-warning");
/// Warnings that are told.
const WARNINGS: usize = 16;

/// What goes wrong, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: Trouble,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Trouble)]
pub struct Trouble {
    /// A word for programs.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// What helps.
    pub hint: Option<String>,
    /// What the log calls this request.
    pub request_id: String,
    /// All of it, as a command tells it: where a command asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub told: Option<Box<Told>>,
}

/// What a change would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DryRun {
    /// What would be changed, in a line for each service.
    pub change: String,
    /// What could not be done, or is in the way.
    pub warnings: Vec<String>,
    /// What would be done to the kernel.
    pub steps: Vec<String>,
}

/// A refusal on its way out: what the middleware makes an [`ErrorBody`] of.
#[derive(Clone, Debug)]
pub(super) struct Refused(pub(super) Refusal);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Refused(self));
        response
    }
}

/// The body of a refusal.
pub(super) fn error(refusal: &Refusal, request_id: &str) -> Response {
    let Refusal { status, message, hint, told } = refusal.clone();
    let trouble = Trouble { code: code(status).into(), message, hint, request_id: request_id.into(), told };
    let mut response = json(status, &ErrorBody { error: trouble });
    if status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer realm=\"wocut\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// One word for each status that the API has.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "bad_request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        408 => "timeout",
        409 => "conflict",
        412 => "precondition_failed",
        413 => "too_large",
        422 => "unprocessable",
        431 => "headers_too_large",
        _ => "unavailable",
    }
}

/// What an error of the daemon is to a client. Whatever is not the client's doing is told as unavailable; the log has
/// why.
pub(super) fn refusal(failed: &anyhow::Error) -> Refusal {
    if let Some(refusal) = failed.chain().find_map(|cause| cause.downcast_ref::<Refusal>()) {
        return refusal.clone();
    }
    let status = failed.chain().find_map(status_of);
    let Some(status) = status else {
        tracing::error!("request failed: {}", one_line(failed));
        let what =
            format!("not done, and as it was before: {}", causes(failed).first().map_or("", String::as_str));
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what).hint("the log of wocut has the cause");
    };
    let conflicts = crate::error::conflicts(failed).iter().map(ToString::to_string);
    let message = std::iter::once(one_line(failed)).chain(conflicts).collect::<Vec<_>>().join("; ");
    Refusal { status, message, hint: hint(failed).map(|hint| for_clients(&hint)), told: None }
}

fn status_of(cause: &(dyn std::error::Error + 'static)) -> Option<StatusCode> {
    if let Some(change) = cause.downcast_ref::<ChangeError>() {
        return Some(match change {
            ChangeError::Usage(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ChangeError::NoService(_) | ChangeError::NoInstance(..) => StatusCode::NOT_FOUND,
            ChangeError::Conflict { .. } => StatusCode::CONFLICT,
        });
    }
    if cause.is::<Conflicts>() || cause.is::<OtherVersion>() || cause.is::<Foreign>() {
        return Some(StatusCode::CONFLICT);
    }
    let is_sense = cause.is::<FallsShort>() || cause.is::<Usage>() || cause.is::<ParseError>();
    is_sense.then_some(StatusCode::UNPROCESSABLE_ENTITY)
}

/// Hints name options of commands; the API has its own.
fn for_clients(hint: &str) -> String {
    hint.replace("`--force`", "`?force=true`").replace("`--allow-degraded`", "`\"allow_degraded\": true`")
}

/// JSON, compact.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    typed(response, HeaderValue::from_static("application/json"))
}

/// Text of some kind.
pub(super) fn text(kind: &'static str, body: impl Into<Body>) -> Response {
    typed(Response::new(body.into()), HeaderValue::from_static(kind))
}

fn typed(mut response: Response, kind: HeaderValue) -> Response {
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Something of the configuration, with the tag of all of it.
pub(super) fn tagged<T: Serialize>(wanted: &Wanted, body: &T) -> Response {
    let mut response = json(StatusCode::OK, body);
    response.headers_mut().insert(header::ETAG, etag::of(wanted));
    response
}

/// What a change came to: the whole configuration, as shuttle answers, and what was done in headers.
pub(super) fn changed(wanted: &Wanted, done: &Done) -> Response {
    let mut response = tagged(wanted, &render::config(wanted));
    let headers = response.headers_mut();
    headers.insert(CHANGE, line(&done.line));
    for warning in done.warnings.iter().take(WARNINGS) {
        headers.append(WARNING, line(warning));
    }
    response
}

/// What a change would come to.
pub(super) fn dry_run(done: Done) -> Response {
    let Done { line, warnings, steps, connections: _, notes: _ } = done;
    json(StatusCode::OK, &DryRun { change: line, warnings, steps })
}

/// A text as a header has it: on one line.
fn line(text: &str) -> HeaderValue {
    let visible = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let line: String = text.lines().collect::<Vec<_>>().join("; ").chars().map(visible).take(1024).collect();
    HeaderValue::try_from(line).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::refusal;
    use crate::{error::FallsShort, plan::ChangeError};

    #[test]
    fn kind_of_an_error_is_its_status() {
        let web = || "web".parse().unwrap();
        let conflict = ChangeError::Conflict { what: "taken".into(), forceable: true };
        for (error, status) in [
            (ChangeError::NoService(web()).into(), 404),
            (ChangeError::NoInstance(web(), web()).into(), 404),
            (ChangeError::Usage("twice".into()).into(), 422),
            (conflict.into(), 409),
            (FallsShort("least-conn".into()).into(), 422),
            (anyhow!("bpf(2)"), 503),
        ] {
            let error: anyhow::Error = error;
            assert_eq!(refusal(&error.context("service `web`")).status, status);
        }
    }

    #[test]
    fn cause_that_is_not_the_clients_stays_in_the_log() {
        let error = Err::<(), _>(anyhow!("secret")).context("write map slots").unwrap_err();
        let refusal = refusal(&error);
        assert!(refusal.message.contains("write map slots") && !refusal.message.contains("secret"));
    }

    #[test]
    fn hint_names_what_the_api_has() {
        let refusal = refusal(&FallsShort("least-conn".into()).into());
        assert_eq!(refusal.hint.as_deref(), Some("`\"allow_degraded\": true` attaches it without"));
    }
}
