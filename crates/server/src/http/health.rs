//! `/healthz`, `/readyz` and `/metrics`, for the operator's machines, and the OpenAPI documents.

use crate::http::json::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::IntoResponse;
use domain::users;
use serde_json::json;

use super::client::Device;
use super::code::Code;
use super::{Error, v1};
use crate::http::App;
use crate::runtime::metrics::prometheus_text;

/// `GET /healthz`: the process responds.
pub(super) async fn alive() -> impl IntoResponse {
    Json(json!({ "status": "alive" }))
}

/// `GET /readyz`: the database can be read. Its schema was checked when it was opened.
pub(super) async fn ready(
    State(app): State<App>,
    device: Device,
) -> Result<impl IntoResponse, Error> {
    if app.stopping.is_cancelled() {
        return Err(Error::new(Code::Unavailable, "the server is stopping"));
    }
    app.db.of(device.address).read_one(move |tx| users::list(tx, 0, 1)).await?;
    Ok(Json(json!({ "status": "ready" })))
}

/// `GET /metrics`: in the text format of Prometheus, or in that of `OpenMetrics` if the client
/// prefers it.
pub(super) async fn metrics(State(app): State<App>, headers: HeaderMap) -> impl IntoResponse {
    let open = app.metrics.open_metrics(&app.db.stats(), app.streams.count());
    let wanted = quality(&headers, "application/openmetrics-text");
    let (kind, text) = if wanted > 0.0 && wanted >= quality(&headers, "text/plain") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", open)
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", prometheus_text(&open))
    };
    ([(CONTENT_TYPE, kind)], text)
}

/// The weight of a media type in `Accept`; 0 if it is not listed.
fn quality(headers: &HeaderMap, media_type: &str) -> f32 {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let weights = lines.flat_map(|line| line.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let same = parts.next()?.eq_ignore_ascii_case(media_type);
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        same.then(|| quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
    });
    weights.fold(0.0, f32::max)
}

/// `GET /openapi.json`
pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], v1::DOCUMENT)
}

/// `GET /openapi-3.0.json`
pub(super) async fn openapi_30() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], v1::DOCUMENT_30.as_str())
}
