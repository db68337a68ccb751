//! What every request goes through on its way in and out.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::timeout;

use super::{
    Api,
    access::{Caller, Wish},
    answer::{self, Refused},
    refusal::Refusal,
    request::Who,
};

/// Where the daemon works: the inode number of its network namespace.
pub(crate) const NETNS: HeaderName = HeaderName::from_static("wocut-netns");
/// What who asks may do: `read`, or `write`, which is to read and to change things.
const ACCESS: HeaderName = HeaderName::from_static("wocut-access");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names requests: no two of this daemon have the same name, nor hardly two of different ones.
#[derive(Debug)]
pub(super) struct Counter(AtomicU64);

impl Default for Counter {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(AtomicU64::new(u64::try_from(since.as_micros()).unwrap_or_default()))
    }
}

impl Counter {
    fn next(&self) -> String {
        format!("{:014x}", self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Lets a request in, or not, and gives whatever went wrong its one shape.
pub(super) async fn pass(State(api): State<Api>, request: Request, next: Next) -> Response {
    let id = api.requests.next();
    let right = request.extensions().get().and_then(|caller| api.access.right(caller, request.headers()));
    let mut response = match admit(&api, &request) {
        Ok(who) => answered(&api, &id, who, request, next).await,
        Err(refusal) => answer::error(&refusal, &id),
    };
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("")));
    headers.insert(NETNS, HeaderValue::from(api.daemon.netns()));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.extend(right.map(|right| (ACCESS, HeaderValue::from_static(right.word()))));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The answer to somebody who was let in.
async fn answered(api: &Api, id: &str, who: String, mut request: Request, next: Next) -> Response {
    let asked = format!("{} {}", request.method(), request.uri().path().escape_default());
    let is_read = request.method().is_safe();
    request.extensions_mut().insert(Who(who.clone()));
    let answer = timeout(api.limits.answer, next.run(request)).await;
    let response = answer.unwrap_or_else(|_| late().into_response());
    let Some(Refused(refusal)) = response.extensions().get() else { return response };
    let (status, why) = (refusal.status.as_u16(), refusal.message.escape_debug());
    // Whoever reads may ask for what is not there all the time.
    if is_read {
        tracing::debug!(%id, %who, status, "refused {asked}: {why}");
    } else {
        tracing::info!(%id, %who, status, "refused {asked}: {why}");
    }
    let mut error = answer::error(refusal, id);
    let allowed = response.headers().get(header::ALLOW).cloned();
    error.headers_mut().extend(allowed.map(|methods| (header::ALLOW, methods)));
    error
}

fn late() -> Refusal {
    let what = "it took too long; a change that was begun goes on to its end";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what).hint("`/_config` says what is wanted")
}

/// Who asks, if they may.
fn admit(api: &Api, request: &Request) -> Result<String, Refusal> {
    let headers = request.headers();
    let size = size(headers) + request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if size > api.limits.header_size || headers.len() > api.limits.header_fields {
        let what = "the header is longer than it may be";
        return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, what));
    }
    let Some(caller) = request.extensions().get::<Caller>() else {
        return Err(Refusal::forbidden("nobody knows who asks"));
    };
    let wish = Wish { method: request.method(), path: request.uri().path(), headers };
    api.access.admit(caller, wish).inspect_err(|refusal| {
        let path = wish.path.escape_default().to_string();
        tracing::info!(?caller, method = %wish.method, path, "not let in: {}", refusal.message);
    })
}

fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
