//! Bodies of requests: bounded in length and in time.
//!
//! Not `Limited` and `collect` of http-body-util, which keep every frame until the last has come:
//! 500,000 chunks of one byte each held 19 MiB there, and hold 1 MiB here.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::Error;
use super::code::Code;
use crate::http::App;

/// Reads a whole body.
///
/// # Errors
/// If it is too long, too slow, or incomplete.
pub(super) async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    let limit = app.limits.request_bytes;
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let time = Duration::from_secs(app.settings.body_timeout_seconds);
    let whole = tokio::time::timeout(time, collect(body, limit)).await;
    whole.unwrap_or_else(|_elapsed| {
        Err(Error::new(Code::RequestTimeout, "body: it did not arrive in time"))
    })
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Error> {
    // Most bodies are a single frame, which is not copied.
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_cause| Error::malformed("body: it could not be read"))?;
        let Ok(piece) = frame.into_data() else { continue };
        if first.len() + whole.len() + piece.len() > limit {
            return Err(too_large(limit));
        }
        if first.is_empty() && whole.is_empty() {
            first = piece;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&piece);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

fn too_large(limit: usize) -> Error {
    Error::new(Code::BodyTooLarge, format!("body: the request must have at most {limit} bytes"))
}
