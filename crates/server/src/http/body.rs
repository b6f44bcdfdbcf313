//! Bodies of requests: bounded in length and in time.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::Error;
use crate::http::App;

/// Reads a body up to the limit, and nothing behind it.
///
/// # Errors
/// Where it is too long, too slow, or ends early.
pub(super) async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    let limit = app.limits.request_bytes;
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(Error::body_too_large(limit));
    }
    let time = Duration::from_secs(app.settings.body_timeout_seconds);
    let whole = tokio::time::timeout(time, collect(body, limit));
    whole.await.map_err(|_elapsed| Error::body_too_slow())?
}

/// The usual body is one piece.
async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Error> {
    let broken = |_cause| Error::malformed("body: it could not be read");
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
        if first.len() + whole.len() + piece.len() > limit {
            return Err(Error::body_too_large(limit));
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
