//! The two shapes of an error: a problem document (RFC 9457) on /v1, and the classic API's own.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::code::Code;
use super::error::{Fault, FieldError};

/// A problem document of RFC 9457.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    /// Where this kind of problem is explained.
    #[schema(example = "/docs/errors#invalid")]
    r#type: String,
    /// A few words, the same for each problem of this code.
    title: &'static str,
    /// The status of the response.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request.
    detail: &'a str,
    /// The code for programs; docs/errors.md lists all codes.
    code: &'static str,
    /// The same as the header X-Request-Id.
    request_id: &'a str,
    /// Everything that is wrong with the input.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
    /// The seconds of the header Retry-After, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, example = 30)]
    retry_after: Option<i64>,
    /// The limits that are exhausted, as the header RateLimit-Policy names them.
    #[serde(rename = "violated-policies", skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false, value_type = Vec<String>, example = json!(["login-account"]))]
    violated_policies: &'a [&'static str],
}

#[derive(Serialize)]
struct Classic<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// The shape of an error, by the API that was called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{"error": …}`
    Classic,
    /// `application/problem+json`
    Problem,
}

impl Shape {
    pub(super) fn of(path: &str) -> Self {
        let is_problem = path.starts_with("/v1/")
            || path.starts_with("/docs/")
            || path.starts_with("/openapi")
            || matches!(path, "/v1" | "/docs");
        if is_problem { Self::Problem } else { Self::Classic }
    }
}

/// Writes the body of an error response. The cause goes to the log; the client gets the id to ask
/// the operator about.
pub(super) fn write(response: &mut Response, shape: Shape, id: &str, method: &Method) {
    let fault = response.extensions_mut().remove::<Box<Fault>>();
    if fault.is_none() && !response.status().is_server_error() {
        return;
    }
    let fault = fault.unwrap_or_else(|| Box::new(Fault::unknown(response.status())));
    let facts = fault.code.facts();
    let (status, kind, json) = match shape {
        Shape::Problem => (facts.status, "application/problem+json", fault.problem(id)),
        Shape::Classic => {
            let request_id = facts.classic.is_server_error().then_some(id);
            let classic = Classic { error: &fault.detail, request_id };
            (facts.classic, "application/json", serde_json::to_vec(&classic))
        }
    };
    log(&fault, id, method, status);
    let json = json.expect("texts and numbers are JSON");
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if shape == Shape::Problem && status == StatusCode::UNAUTHORIZED {
        headers.entry(WWW_AUTHENTICATE).or_insert(HeaderValue::from_static("Bearer"));
    }
    *response.body_mut() = Body::from(json);
}

impl Fault {
    fn problem(&self, request_id: &str) -> serde_json::Result<Vec<u8>> {
        let facts = self.code.facts();
        // Their detail names a field of the classic API.
        let detail = match self.code {
            Code::RecipientUnavailable
            | Code::UnknownRecipient
            | Code::BlockedByYou
            | Code::NoReplies => facts.meaning,
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
            retry_after: self.retry_after,
            violated_policies: &self.violated_policies,
        })
    }
}

fn log(fault: &Fault, id: &str, method: &Method, status: StatusCode) {
    let Some(cause) = &fault.cause else { return };
    match cause {
        // Conditions that pass by themselves.
        db::Error::Busy | db::Error::Full | db::Error::Unavailable(_) | db::Error::Unknown => {
            tracing::warn!(request = id, %method, %status, %cause, "refused");
        }
        // The server is stopping, and has logged why.
        db::Error::Failed(_) | db::Error::Closed => {
            tracing::debug!(request = id, %method, %status, %cause, "refused");
        }
        _ => tracing::error!(request = id, %method, %status, %cause, "failed"),
    }
}
