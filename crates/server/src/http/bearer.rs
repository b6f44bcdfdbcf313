//! What a request sends as `Authorization: Bearer`.

use axum::http::{HeaderMap, header};

/// The token or key of the request. No browser sends it by itself, so it needs no CSRF token.
pub(super) fn of(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
