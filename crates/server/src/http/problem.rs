//! The two shapes of an error: a problem of RFC 9457 on /v1, and that of the classic API.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::code::Code;
use super::error::{Fault, FieldError};

/// What is wrong, as RFC 9457 writes it.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    /// Where this kind of problem is explained.
    #[schema(example = "/docs/errors#invalid")]
    r#type: String,
    /// A few words, the same for each problem of this code.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request.
    detail: &'a str,
    /// What a program can tell it by; docs/errors.md lists them all.
    code: &'static str,
    /// The same as the header X-Request-Id.
    request_id: &'a str,
    /// Everything that is wrong with the input.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
    /// Members of this code only, as `retry_after`.
    #[serde(flatten)]
    #[schema(ignore)]
    members: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Classic<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// Which API was asked, by its errors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{"error": …}`
    Classic,
    /// `application/problem+json`
    Problem,
}

impl Shape {
    /// That of a path.
    pub(super) fn of(path: &str) -> Self {
        let below = |root| path.strip_prefix(root).is_some_and(|rest| matches!(rest, "" | "/"));
        if path.starts_with("/v1/") || path.starts_with("/docs/") {
            return Self::Problem;
        }
        if ["/v1", "/openapi.json", "/docs"].into_iter().any(below) {
            return Self::Problem;
        }
        Self::Classic
    }
}

/// Writes what is wrong into the answer. The log is told the cause, once, and the client only the
/// id to ask for.
pub(super) fn write(response: &mut Response, shape: Shape, id: &HeaderValue, method: &Method) {
    let fault = response.extensions_mut().remove::<Box<Fault>>();
    if fault.is_none() && !response.status().is_server_error() {
        return;
    }
    let fault = fault.unwrap_or_else(|| Box::new(Fault::unknown(response.status())));
    let id = id.to_str().unwrap_or_default();
    let facts = fault.code.facts();
    let (status, kind, json) = match shape {
        Shape::Problem => (facts.status, "application/problem+json", fault.problem(id)),
        Shape::Classic => {
            let request_id = facts.classic.is_server_error().then_some(id);
            let classic = Classic { error: &fault.detail, request_id };
            (facts.classic, "application/json", serde_json::to_vec(&classic))
        }
    };
    tell_log(&fault, id, method, status);
    let json = json.expect("texts and numbers are JSON");
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if shape == Shape::Problem && status == StatusCode::UNAUTHORIZED {
        let challenge = || HeaderValue::from_static("Bearer");
        headers.entry(WWW_AUTHENTICATE).or_insert_with(challenge);
    }
    *response.body_mut() = Body::from(json);
}

impl Fault {
    /// As a problem.
    fn problem(&self, request_id: &str) -> serde_json::Result<Vec<u8>> {
        let facts = self.code.facts();
        // The domain names the field of the classic API.
        let detail = match self.code {
            Code::RecipientUnavailable | Code::UnknownRecipient => facts.meaning,
            _ => &self.detail,
        };
        serde_json::to_vec(&Problem {
            r#type: self.code.uri(),
            title: facts.title,
            status: facts.status.as_u16(),
            detail,
            code: facts.slug,
            request_id,
            errors: &self.fields,
            members: &self.members,
        })
    }
}

fn tell_log(fault: &Fault, id: &str, method: &Method, status: StatusCode) {
    let Some(cause) = &fault.cause else { return };
    match cause {
        // What passes by itself is no error of ours.
        db::Error::Busy | db::Error::Full | db::Error::Unavailable(_) | db::Error::Unknown => {
            tracing::warn!(request = id, %method, %status, %cause, "refused");
        }
        // The server ends, and tells why: once, and not with every request.
        db::Error::Failed(_) | db::Error::Closed => {
            tracing::debug!(request = id, %method, %status, %cause, "refused");
        }
        _ => tracing::error!(request = id, %method, %status, %cause, "failed"),
    }
}
