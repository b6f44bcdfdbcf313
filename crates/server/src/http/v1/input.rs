//! What a request of /v1 brings: a JSON object, a query string, an id in the path.
//!
//! A handler reads the fields in a closure that makes one value of them all. It gets that value
//! only where nothing at all was wrong, so nothing half-read is ever used:
//!
//! ```ignore
//! let (name, email) = input.read(|fields| {
//!     let name = fields.required("username", text(Username::parse));
//!     let email = fields.required("email", text(Email::parse));
//!     Some((name?, email?))
//! })?;
//! ```

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use bytes::Bytes;
use mail::{ConversationId, MessageId, UserId};
use serde_json::{Map, Number, Value};

use super::fields::{Fields, Kind};
use crate::http::App;
use crate::http::code::Code;
use crate::http::error::FieldError;
use crate::http::{Error, body};

/// The body of a request: a JSON object.
pub(super) struct Input {
    bytes: Bytes,
    fields: Map<String, Value>,
}

impl FromRequest<App> for Input {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(app, &parts.headers, body).await?;
        Ok(Self { fields: object(&parts.headers, &bytes)?, bytes })
    }
}

/// The fields of a body; of no body at all, none.
fn object(headers: &HeaderMap, bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    if !headers.contains_key(CONTENT_TYPE) && bytes.is_empty() {
        return Ok(Map::new());
    }
    if !is_json(headers) {
        let detail = "send the body with Content-Type: application/json";
        return Err(Error::new(Code::UnsupportedMediaType, detail));
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_other) => Err(Error::invalid(vec![FieldError {
            pointer: Some("#".to_owned()),
            parameter: None,
            detail: "the body must be a JSON object".into(),
            code: "wrong_type",
        }])),
        Err(cause) => Err(Error::malformed(format!("body: it is not JSON: {cause}"))),
    }
}

/// Whether the Content-Type is JSON or a kind of it, with whatever parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

impl Input {
    /// Reads the fields. Each must be known to the reader.
    ///
    /// # Errors
    /// 422 with everything that is wrong.
    pub(super) fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Fields) -> Option<T>,
    ) -> Result<T, Error> {
        Fields::new(Kind::Body, std::mem::take(&mut self.fields)).read(read)
    }

    /// The body as it came.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// The query string of a request.
pub(super) struct Asked(Fields);

impl FromRequestParts<App> for Asked {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Error> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(pairs) = pairs.map_err(|cause| {
            Error::new(Code::BadRequest, format!("the query string cannot be read: {cause}"))
        })?;
        let mut fields = Fields::new(Kind::Query, Map::new());
        for (name, text) in pairs {
            fields.add(name, text);
        }
        Ok(Self(fields))
    }
}

impl Asked {
    /// Reads the parameters. Each must be known to the reader, and be there once.
    ///
    /// # Errors
    /// 422 with everything that is wrong.
    pub(super) fn read<T>(self, read: impl FnOnce(&mut Fields) -> Option<T>) -> Result<T, Error> {
        self.0.read(read)
    }
}

/// What can be named by a number in a path.
pub(super) trait Named: Sized {
    /// The thing of that number, if there can be one.
    fn named(id: i64) -> Option<Self>;
}

impl Named for UserId {
    fn named(id: i64) -> Option<Self> {
        Self::new(id)
    }
}

impl Named for MessageId {
    fn named(id: i64) -> Option<Self> {
        Self::new(id)
    }
}

impl Named for ConversationId {
    fn named(id: i64) -> Option<Self> {
        Self::new(id)
    }
}

impl Named for i64 {
    fn named(id: i64) -> Option<Self> {
        Some(id)
    }
}

/// A whole number, however it is written: to JSON 7 and 7.0 are the same.
#[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
pub(super) fn whole(number: &Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = || number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT);
    number.as_i64().or_else(|| float().map(|float| float as i64))
}

/// The one id in the path. What is no id is not found.
pub(super) struct Id<T>(pub(super) T);

impl<T: Named> FromRequestParts<App> for Id<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let text = Path::<String>::from_request_parts(parts, app).await;
        let text = text.ok().map(|Path(text)| text).unwrap_or_default();
        let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let id = text.parse().ok().filter(|_| canonical).and_then(T::named);
        id.map(Self).ok_or_else(|| mail::Error::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_declared_as_json_or_a_kind_of_it() {
        let declared = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            is_json(&headers)
        };
        for kind in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.example+json",
            "application/json;charset=UTF-8",
        ] {
            assert!(declared(kind), "{kind}");
        }
        for kind in ["", "text/json", "text/plain", "application/jsonp", "application/x+jsonp"] {
            assert!(!declared(kind), "{kind}");
        }
    }
}
