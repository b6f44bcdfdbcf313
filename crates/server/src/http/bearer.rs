//! What a request sends as `Authorization: Bearer`.

use axum::http::{HeaderMap, header};

use super::Error;
use super::code::Code;

/// The token or key of the request. No browser sends it by itself, so it needs no CSRF token.
///
/// # Errors
/// If the header is there twice: which one counts would be a guess.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<&[u8]>, Error> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::new(Code::BadRequest, "Authorization: send it once"));
    }
    let parts = value.as_bytes().split_at_checked("bearer ".len());
    let bearer = parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    Ok(bearer.map(|(_, token)| token.trim_ascii()))
}
