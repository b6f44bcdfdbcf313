//! The extractors of /v1: a JSON object, a query string, an id in the path.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::field_types::NumericId;
use super::idempotency::{self, KeyedRequest};
use super::json::{self, Bounds};
use super::preconditions;
use super::reader::{self, FieldSet};
use crate::http::code::Code;
use crate::http::error::FieldError;
use crate::http::{App, Error, body, paths};

/// The body of a request: a JSON object with the fields `T`.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: FieldSet> FromRequest<App> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        Ok(Self(read_body(request, app).await?.0))
    }
}

/// The body of a POST, which can be retried with an idempotency key.
pub(super) struct KeyedBody<T>(pub(super) T, pub(super) KeyedRequest);

impl<T: FieldSet> FromRequest<App> for KeyedBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let key = idempotency::key(request.headers())?;
        let path = request.uri().path().to_owned();
        let (fields, body) = read_body(request, app).await?;
        Ok(Self(fields, KeyedRequest::new(key, &path, &body)))
    }
}

async fn read_body<T: FieldSet>(request: Request, app: &App) -> Result<(T, Bytes), Error> {
    let (parts, body) = request.into_parts();
    preconditions::confirm_none(&parts.headers)?;
    // What has fields takes them in the body: a bound in the query string would be overlooked.
    if !T::SPECS.is_empty() && parts.uri.query().is_some() {
        query::<()>(&parts, app)?;
    }
    let bytes = body::read(app, &parts, body).await?;
    let is_servers = paths::is_servers(parts.uri.path());
    let bounds = if is_servers { Bounds::OF_SERVERS } else { Bounds::OF_USERS };
    let values = object(&parts.headers, &bytes, bounds)?;
    Ok((reader::read(app.limits.texts, &bytes, values)?, bytes))
}

/// The fields of a body; an empty body has none, whatever its type: some clients name one always.
fn object(headers: &HeaderMap, bytes: &[u8], bounds: Bounds) -> Result<Map<String, Value>, Error> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if !is_json(headers) {
        let detail = "send the body with Content-Type: application/json";
        return Err(Error::new(Code::UnsupportedMediaType, detail));
    }
    if body::is_encoded(headers) {
        let detail = "send the body as it is, without Content-Encoding";
        return Err(Error::new(Code::UnsupportedMediaType, detail));
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match json::read(bytes, bounds) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_other) => Err(Error::invalid(vec![FieldError {
            pointer: Some("#".to_owned()),
            parameter: None,
            to: None,
            detail: "the body must be a JSON object".into(),
            code: "wrong_type",
        }])),
        Err(cause) if cause.is_data() => Err(Error::malformed(format!("body: {cause}"))),
        Err(cause) => Err(Error::malformed(format!("body: it is not JSON: {cause}"))),
    }
}

/// Whether the Content-Type is `application/json` or `application/*+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

pub(super) struct QueryParams<T>(pub(super) T);

impl<T: FieldSet> FromRequestParts<App> for QueryParams<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        query(parts, app).map(Self)
    }
}

fn query<T: FieldSet>(parts: &Parts, app: &App) -> Result<T, Error> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let Query(pairs) = pairs.map_err(|cause| {
        Error::new(Code::BadRequest, format!("the query string cannot be read: {cause}"))
    })?;
    reader::read_query(app.limits.texts, pairs)
}

/// The one id in the path. Anything else there is "not found".
pub(super) struct PathId<T>(pub(super) T);

impl<T: NumericId> FromRequestParts<App> for PathId<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let text = Path::<String>::from_request_parts(parts, app).await;
        let text = text.ok().map(|Path(text)| text).unwrap_or_default();
        let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let id = text.parse().ok().filter(|_| canonical).and_then(T::from_number);
        id.map(Self).ok_or_else(|| domain::Error::NotFound(T::NOUN).into())
    }
}
