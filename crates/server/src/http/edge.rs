//! What surrounds every request: its id, the headers of every answer, the log, the metrics.

use std::borrow::Cow;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tower::Service as _;

use super::Peer;
use super::error::Failure;
use crate::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// On every answer: it is data for one client, and never a page.
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

    let answer = catch_panic(router.call(request)).await;
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Err(panic) => {
            tracing::error!(request = %Id(&id), panic, "a request panicked");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    if response.status().is_server_error() {
        tell_apart(&mut response, &id, &method);
    }
    let headers = response.headers_mut();
    headers.reserve(HEADERS.len() + 3);
    headers.insert(REQUEST_ID, id);
    for (name, value) in HEADERS {
        headers.insert(name, value);
    }
    if app.origin().is_some_and(super::origin::Origin::is_https) {
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

#[derive(Serialize)]
struct Told<'a> {
    error: &'a str,
    request_id: &'a str,
}

/// Tells the log the cause, once, and the client only the id to ask for.
fn tell_apart(response: &mut Response, id: &HeaderValue, method: &Method) {
    let status = response.status();
    let failure = response.extensions_mut().remove::<Failure>();
    if let Some(cause) = failure.as_ref().and_then(|failure| failure.cause.as_ref()) {
        match cause {
            // What passes by itself is no error of ours.
            db::Error::Busy | db::Error::Full => {
                tracing::warn!(request = %Id(id), %method, %status, %cause, "refused");
            }
            // The server ends, and tells why: once, and not with every request.
            db::Error::Failed(_) | db::Error::Closed => {
                tracing::debug!(request = %Id(id), %method, %status, %cause, "refused");
            }
            _ => tracing::error!(request = %Id(id), %method, %status, %cause, "failed"),
        }
    }
    let error = failure.map_or(Cow::Borrowed("internal error"), |failure| failure.text);
    let told = Told { error: &error, request_id: id.to_str().unwrap_or_default() };
    let json = serde_json::to_vec(&told).expect("two texts are JSON");
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = Body::from(json);
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

/// The ids of a worker's requests: unique over workers and restarts, told to the client and the
/// log.
pub struct RequestIds {
    start: u32,
    count: AtomicU64,
}

impl RequestIds {
    /// Begins with 32 random bits for this worker and this run of the server.
    pub fn new(start: [u8; 4]) -> Self {
        Self { start: u32::from_be_bytes(start), count: AtomicU64::new(0) }
    }

    fn next(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Relaxed);
        HeaderValue::try_from(format!("{:08x}{count:08x}", self.start)).expect("it is hexadecimal")
    }
}

struct Id<'a>(&'a HeaderValue);

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}
