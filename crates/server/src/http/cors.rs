//! Pages of other origins: the operator names those that may use /v1.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::config::origin::Origin;

/// What a browser is told before it asks for real; it asks again after ten minutes.
const PREFLIGHT: [(HeaderName, HeaderValue); 3] = [
    (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE")),
    (
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-type, x-csrftoken, idempotency-key, if-match, if-none-match, \
             last-event-id",
        ),
    ),
    (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
];

/// Headers of answers that scripts may read, besides those that they always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, location, retry-after, ratelimit, ratelimit-policy, x-request-id, idempotency-replayed",
);

/// Whether pages of other origins may be let in to a path.
pub(super) fn covers(path: &str) -> bool {
    path.starts_with("/v1/")
}

/// The origins that are let in.
pub(crate) struct Cors(Vec<Origin>);

impl Cors {
    /// Lets these in.
    pub(crate) fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// Whether anybody is let in, so that answers depend on who asks.
    pub(super) fn is_on(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether the request was made by a page that is let in.
    pub(super) fn lets_in(&self, headers: &HeaderMap) -> bool {
        self.origin(headers).is_some()
    }

    /// The origin that made the request, if it is let in.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if !self.is_on() {
            return None;
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let (origin, None) = (origins.next()?, origins.next()) else { return None };
        let parsed = Origin::parse(origin.to_str().ok()?)?;
        self.0.contains(&parsed).then(|| origin.clone())
    }
}

/// The answer to a browser that asks whether it may ask.
pub(super) fn preflight<B>(request: &Request<B>) -> Option<Response> {
    let asks = request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    asks.then(|| (StatusCode::NO_CONTENT, PREFLIGHT).into_response())
}

/// Tells the browser that the page may read the answer.
pub(super) fn open(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// Tells caches that another page would get another answer.
pub(super) fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
}
