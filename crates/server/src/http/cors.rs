//! CORS: the operator names the origins whose pages may use /v1.
//!
//! Not `CorsLayer` of tower-http, which behaves differently: it answers every OPTIONS itself,
//! whatever the origin and even if it is no preflight; it varies by three headers, so that caches
//! keep more copies; and pages whose origin is not allowed get the headers of allowed ones.

use std::net::IpAddr;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::config::origin::Origin;

/// The answer to a preflight; browsers cache it for ten minutes.
const PREFLIGHT: [(HeaderName, HeaderValue); 3] = [
    (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE")),
    (
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-type, x-csrftoken, idempotency-key, if-match, if-none-match, \
             last-event-id, postroom-if-user",
        ),
    ),
    (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
];

/// Response headers that scripts may read, besides those that they always can. `Date` is the
/// server's clock: that of a browser may be wrong.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "date, etag, location, retry-after, ratelimit, ratelimit-policy, x-request-id, \
     idempotency-replayed, www-authenticate, content-disposition",
);

pub(crate) struct Cors(Vec<Origin>);

impl Cors {
    pub(crate) fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// Whether any origin is allowed, so that responses depend on the origin.
    pub(super) fn is_on(&self) -> bool {
        !self.0.is_empty()
    }

    /// The origin of the page that made the request, if it is allowed.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let (origin, None) = (origins.next()?, origins.next()) else { return None };
        let parsed = Origin::parse(origin.to_str().ok()?)?;
        self.0.contains(&parsed).then(|| origin.clone())
    }
}

/// The response to a preflight, if the request is one.
pub(super) fn preflight<B>(request: &Request<B>) -> Option<Response> {
    is_preflight(request).then(|| (StatusCode::NO_CONTENT, PREFLIGHT).into_response())
}

fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Says in the log whose preflight was refused: their page only learns that there is no response.
pub(super) fn log_refused<B>(request: &Request<B>, client: IpAddr) {
    if !is_preflight(request) {
        return;
    }
    let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok());
    if let Some(origin) = origin.filter(|origin| Origin::parse(origin).is_some()) {
        tracing::info!(%client, origin, "refused a page: its origin is not in cors_origins");
    }
}

/// Allows the page to read the response.
pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// Tells caches that the response depends on the origin.
pub(super) fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
}
