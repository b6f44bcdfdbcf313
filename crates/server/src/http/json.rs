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
        let mut json = Written::default();
        json.add(&self.0);
        json.into_response()
    }
}

/// A response in JSON that is written in parts.
pub(super) struct Written(pub(super) Vec<u8>);

impl Default for Written {
    fn default() -> Self {
        Self(Vec::with_capacity(USUAL_BYTES))
    }
}

impl Written {
    pub(super) fn add(&mut self, part: &impl Serialize) {
        serde_json::to_writer(&mut self.0, part).expect("what is shown can be written as JSON");
    }
}

impl IntoResponse for Written {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], self.0).into_response()
    }
}
