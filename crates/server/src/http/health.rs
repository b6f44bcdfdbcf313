//! `/healthz`, `/readyz` and `/metrics`, for the operator's machines, and `/openapi.json`.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use mail::users;
use serde::Serialize;

use super::{Error, v1};
use crate::http::App;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> impl IntoResponse {
    Json(Health { status: "alive" })
}

/// `GET /readyz`: requests can be served. The schema was checked when the database was opened.
pub(super) async fn ready(State(app): State<App>) -> Result<impl IntoResponse, Error> {
    if app.stopping.is_set() {
        return Err(Error::not_ready("the server is stopping"));
    }
    app.db.read(move |tx| users::list(tx, 0, 1)).await?;
    Ok(Json(Health { status: "ready" }))
}

/// `GET /metrics`: figures in the text format of `OpenMetrics`.
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], app.metrics.render(&app.db.stats(), app.streams.count()))
}

/// `GET /openapi.json`: what /v1 is.
pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], v1::DOCUMENT)
}
