//! `/_ui`: a page for people. It has no figure and no secret in it, and asks this API as any other client does: who may
//! not read sees nothing, and who may not change anything has no buttons.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};

use super::{
    answer::text,
    etag::{self, Conditions},
    refusal::Refusal,
    request::not_found,
};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PAGE: &str = "text/html; charset=utf-8";

/// The page, and what it loads: where below `/_ui` it is, and of what kind.
pub(super) const FILES: [(&str, &str, &str); 13] = [
    ("", PAGE, include_str!("index.html")),
    ("/style.css", STYLE, include_str!("style.css")),
    ("/script.js", SCRIPT, include_str!("script.js")),
    ("/page.js", SCRIPT, include_str!("page.js")),
    ("/server.js", SCRIPT, include_str!("server.js")),
    ("/token.js", SCRIPT, include_str!("token.js")),
    ("/rates.js", SCRIPT, include_str!("rates.js")),
    ("/services.js", SCRIPT, include_str!("services.js")),
    ("/instances.js", SCRIPT, include_str!("instances.js")),
    ("/chart.js", SCRIPT, include_str!("chart.js")),
    ("/events.js", SCRIPT, include_str!("events.js")),
    ("/confirm.js", SCRIPT, include_str!("confirm.js")),
    ("/words.js", SCRIPT, include_str!("words.js")),
];

/// What a browser lets the page do: show and run what comes from here, ask this API, and nothing else. Text that were
/// taken for a script would not run, and no other page can have this one in a frame and lead clicks to its buttons.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    // It may be kept, and is asked for by its tag each time: after an upgrade the page is the new one.
    (header::CACHE_CONTROL, "no-cache"),
];

/// Whether a path is the page's, or of a file that it loads.
pub(super) fn has(path: &str) -> bool {
    find(path).is_some()
}

fn find(path: &str) -> Option<(&'static str, &'static str)> {
    let name = path.strip_prefix("/_ui")?;
    FILES.iter().find(|(known, ..)| *known == name).map(|&(_, kind, text)| (kind, text))
}

/// A page that shows services live, for people.
#[utoipa::path(get, path = "/_ui", tag = "daemon",
    responses((status = 200, body = String, content_type = "text/html"),
        (status = 304, description = "It is the one of If-None-Match")))]
pub(super) async fn page(uri: Uri, headers: HeaderMap) -> Result<Response, Refusal> {
    file(uri, headers).await
}

/// What that page loads.
#[utoipa::path(get, path = "/_ui/{file}", tag = "daemon", params(("file" = String, Path)),
    responses((status = 200, body = String), (status = 304, description = "It is the one of If-None-Match")))]
pub(super) async fn file(uri: Uri, headers: HeaderMap) -> Result<Response, Refusal> {
    let (kind, body) = find(uri.path()).ok_or_else(|| not_found(uri.path()))?;
    let tag = etag::of_bytes(body.as_bytes());
    let is_known = Conditions::of(&headers).is_known(&tag);
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { text(kind, body) };
    let said = response.headers_mut();
    said.insert(header::ETAG, tag);
    said.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Ok(response)
}
