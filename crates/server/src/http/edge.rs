//! What every request passes through: ids, CORS, headers of all responses, the log and metrics.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use db::{Paces, panic_text};
use futures_util::FutureExt as _;
use tower::Service as _;

use super::client::Arrival;
use super::forwarded::Forwarded;
use super::problem::{self, Shape};
use super::unfinished_bodies::Holder;
use super::{Error, Peer, body, cors, long_responses, paths, refusals, waits};
use crate::config::Switch;
use crate::config::origin::Origin;
use crate::http::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Headers of every response, for data of one client. The pages of /docs have a policy of their
/// own.
static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let headers = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (RESOURCE_POLICY, "same-origin"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    headers.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect()
});

/// Responds to a request, even if its handler panics. Returns also whether the client waits to be
/// asked for a body that nobody wants: it may send it all the same, so the connection has to end.
pub async fn handle<B>(
    app: App,
    mut router: Router,
    peer: Peer,
    request: Request<B>,
) -> (Response, bool)
where
    B: axum::body::HttpBody<Data = bytes::Bytes> + Send + Unpin + 'static,
    B::Error: Into<axum::BoxError>,
{
    let started = Instant::now();
    let (mut request, asked) = body::read_on(&app, started, request);
    app.forwarding.note(peer, request.headers(), &app.settings.trusted_proxies);
    let method = request.method().clone();
    let route = app.0.routes.of(request.uri().path());
    let id = app.0.request_ids.next();
    let accepted = Arc::default();
    let from = peer.forwarded(request.headers(), &app.settings.trusted_proxies);
    let arrival = Arrival { peer, from, id, route: route.name(), accepted: Arc::clone(&accepted) };
    request.extensions_mut().insert(arrival);
    let shape = Shape::of(request.uri().path());
    let is_logged = tracing::enabled!(tracing::Level::DEBUG);
    let client = is_logged.then_some(from.client);

    let is_for_pages = paths::has_cors(request.uri().path());
    let has_cors = app.cors.is_on() && is_for_pages;
    let origin = if has_cors { app.cors.origin(request.headers()) } else { None };
    if is_for_pages && origin.is_none() {
        cors::log_refused(&request, from.client);
    }
    let refused = app.hosts.check(&request).err().map(Error::into_response);
    let early = refused.or_else(|| origin.as_ref().and_then(|_| cors::preflight(&request)));
    let result = match early {
        Some(response) => Ok(Ok(response)),
        None => AssertUnwindSafe(router.call(request)).catch_unwind().await,
    };
    let mut response = match result {
        Ok(Ok(response)) => response,
        Err(panic) => {
            tracing::error!(
                request = id.as_str(),
                panic = panic_text(&*panic),
                "a request panicked"
            );
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    response = long_responses::count(&app, &method, Arc::clone(&accepted), response).await;
    problem::write(&mut response, shape, id.as_str(), &method);
    let headers = response.headers_mut();
    // To copy all of them is cheaper than to insert them one by one; those of the answer replace
    // them.
    let own = std::mem::replace(headers, HEADERS.clone());
    headers.extend(own);
    if has_cors {
        cors::vary(headers);
    }
    if let Some(origin) = origin {
        cors::allow(headers, origin);
    }
    // What the client might send now would be taken for its next request.
    let is_unasked = asked.is_missing();
    if is_unasked {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(REQUEST_ID, HeaderValue::from_str(id.as_str()).expect("ids are digits"));
    if app.public.as_ref().is_some_and(Origin::is_https) {
        let value = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, value);
    }
    route.record(response.status(), started.elapsed());
    // Paths contain ids but no secrets; a query string may contain anything.
    tracing::debug!(
        request = id.as_str(),
        client = client.map(tracing::field::display),
        %method,
        route = route.name(),
        status = response.status().as_u16(),
        microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    hold_back(&app, accepted.holder(), from, response.status()).await;
    (response, is_unasked)
}

/// Keeps back the response of who is refused again and again, or has written to very many.
async fn hold_back(app: &App, accepted: Option<Holder>, from: Forwarded, status: StatusCode) {
    if app.settings.rate_limits == Switch::Off {
        return;
    }
    let mut pause = Duration::ZERO;
    if let Some(Holder::User(user)) = accepted {
        pause = app.db.pause(user).min(Paces::<Holder>::LONGEST);
        app.metrics.writers_delayed.inc_by(u64::from(!pause.is_zero()));
    }
    if refusals::is_one(status) {
        let of_refusals = app.refusals.count(accepted, from);
        app.metrics.refusals_delayed.inc_by(u64::from(!of_refusals.is_zero()));
        pause = pause.max(of_refusals);
    }
    if !pause.is_zero() {
        waits::wait(app.stopping.run_until_cancelled(tokio::time::sleep(pause))).await;
    }
}
