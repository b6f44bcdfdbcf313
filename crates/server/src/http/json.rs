//! Responses in JSON.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What most responses fit into.
const USUAL_BYTES: usize = 1024;

/// A response in JSON. Not that of axum, whose buffer is slower for many short writes.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut json = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut json, &self.0).expect("what is shown can be written as JSON");
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
    }
}
