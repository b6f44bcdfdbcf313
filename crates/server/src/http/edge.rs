//! What surrounds every request: its id, the headers of every answer, the log, the metrics.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use tower::Service as _;

use super::problem::{self, Shape};
use super::{Peer, cors};
use crate::config::origin::Origin;
use crate::http::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// On every answer: it is data for one client, and never a page. The pages of /docs say otherwise.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

/// Answers a request, whatever happens.
pub async fn handle<B>(app: App, mut router: Router, peer: Peer, request: Request<B>) -> Response
where
    B: axum::body::HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let started = Instant::now();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    let id = app.0.request_ids.next();
    let method = request.method().clone();
    let route = app.0.routes.of(request.uri().path());
    let shape = Shape::of(request.uri().path());

    let open = app.cors.is_on() && cors::covers(request.uri().path());
    let origin = if open { app.cors.origin(request.headers()) } else { None };
    let preflight = origin.as_ref().and_then(|_| cors::preflight(&request));
    let answer = match preflight {
        Some(allowed) => Ok(Ok(allowed)),
        None => catch_panic(router.call(request)).await,
    };
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Err(panic) => {
            tracing::error!(request = %Id(&id), panic, "a request panicked");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    problem::write(&mut response, shape, &id, &method);
    let headers = response.headers_mut();
    headers.reserve(HEADERS.len() + 7);
    if open {
        cors::vary(headers);
    }
    if let Some(origin) = origin {
        cors::open(headers, origin);
    }
    headers.insert(REQUEST_ID, id);
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    if app.origin().is_some_and(Origin::is_https) {
        let value = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, value);
    }
    route.record(response.status(), started.elapsed());
    // The path may hold ids but no secret; the query may hold anything.
    tracing::debug!(
        request = %Id(&response.headers()[REQUEST_ID]),
        %method,
        route = route.name(),
        status = response.status().as_u16(),
        microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

/// Runs a future to its end or to its panic.
async fn catch_panic<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(panic_text(&*panic))),
    })
    .await
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

struct Id<'a>(&'a HeaderValue);

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}
