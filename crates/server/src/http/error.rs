//! What is answered when something was not done: the one match from the domain to a code.

use std::borrow::Cow;

use axum::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use mail::Over;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::code::Code;

/// What is left of limits, and the limits (draft-ietf-httpapi-ratelimit-headers).
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// An answer that says what is wrong. [`super::handle`] writes it in the shape of the API that was
/// asked.
#[derive(Debug)]
pub struct Error(Box<Fault>);

/// What an [`Error`] says.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) code: Code,
    /// What the client is told.
    pub(super) detail: Cow<'static, str>,
    /// What is wrong with the input, each with its place.
    pub(super) fields: Vec<FieldError>,
    /// Further members of the problem.
    pub(super) members: Map<String, Value>,
    headers: HeaderMap,
    /// What the log is told.
    pub(super) cause: Option<db::Error>,
}

/// One thing that is wrong with the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// Where in the body, as a JSON Pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/to/0", nullable = false)]
    pub(super) pointer: Option<String>,
    /// Which parameter of the query string.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) parameter: Option<String>,
    /// A sentence for the author of the request.
    #[schema(example = "it is missing")]
    pub(super) detail: Cow<'static, str>,
    /// What a program can tell it by.
    #[schema(example = "missing")]
    pub(super) code: &'static str,
}

impl FieldError {
    /// An error at a field of the body's object.
    pub(super) fn field(
        name: &str,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let pointer = Some(format!("#/{name}"));
        Self { pointer, parameter: None, detail: detail.into(), code }
    }

    /// The place as a person names it.
    fn place(&self) -> &str {
        let pointer = self.pointer.as_deref().map(|pointer| pointer.trim_start_matches("#/"));
        pointer.or(self.parameter.as_deref()).unwrap_or_default()
    }
}

impl Error {
    /// An error of that code; the text is for the author of the request.
    pub(super) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Fault {
            code,
            detail: detail.into(),
            fields: vec![],
            members: Map::new(),
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    /// The input cannot be used, for all these reasons.
    pub(super) fn invalid(fields: Vec<FieldError>) -> Self {
        let detail = match fields.as_slice() {
            [one] => format!("{}: {}", one.place(), one.detail),
            many => format!("{} fields or parameters cannot be used", many.len()),
        };
        Self::new(Code::Invalid, detail).with_fields(fields)
    }

    fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.0.fields = fields;
        self
    }

    /// With the number of seconds after which trying again makes sense.
    pub(super) fn retry_after(self, seconds: i64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds)).member("retry_after", seconds)
    }

    /// With the limit that allows no more.
    fn over(self, over: &Over) -> Self {
        let policy = format!("\"{}\";q={};w={}", over.name, over.limit, over.window_seconds);
        let left = format!("\"{}\";r=0;t={}", over.name, over.retry_after);
        let value = |text| HeaderValue::try_from(text).expect("names of limits are letters");
        self.retry_after(over.retry_after)
            .header(RATE_LIMIT_POLICY, value(policy))
            .header(RATE_LIMIT, value(left))
            .member("violated-policies", [over.name].as_slice())
    }

    /// With a header.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// With a further member of the problem; the classic API has none.
    pub(super) fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// The login is missing.
    pub(super) fn not_logged_in() -> Self {
        Self::new(Code::Unauthenticated, "login first")
    }

    /// The token of a program does not hold.
    pub(super) fn bad_token() -> Self {
        let detail = "the token is wrong, revoked or expired";
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        Self::new(Code::Unauthenticated, detail).header(WWW_AUTHENTICATE, challenge)
    }

    /// The token of a program does not hold for this.
    pub(super) fn insufficient_scope(scope: &str) -> Self {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        let challenge = HeaderValue::try_from(challenge).expect("a scope is letters and a colon");
        Self::new(Code::InsufficientScope, format!("the token needs the scope {scope}"))
            .header(WWW_AUTHENTICATE, challenge)
    }

    /// The request comes from a page of another site.
    pub(super) fn foreign() -> Self {
        Self::new(Code::ForeignOrigin, "the request comes from another site")
    }

    /// The CSRF token is missing or wrong.
    pub(super) fn no_csrf_token() -> Self {
        let text = "CSRF: send the token of GET /users/token in the header X-CSRFToken and in the \
                    cookie csrftoken";
        Self::new(Code::Csrf, text)
    }

    /// Nobody may register.
    pub(super) fn registration_closed() -> Self {
        Self::new(Code::RegistrationClosed, "registration is closed")
    }

    /// The body cannot be read, or is not JSON.
    pub(super) fn malformed(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::MalformedJson, text)
    }

    /// The body is larger than any that could be accepted.
    pub(super) fn body_too_large(max: usize) -> Self {
        let text = format!("body: the request must have at most {max} bytes");
        Self::new(Code::BodyTooLarge, text)
    }

    /// The body did not come in time.
    pub(super) fn body_too_slow() -> Self {
        Self::new(Code::RequestTimeout, "body: it did not arrive in time")
    }

    /// The server is not ready.
    pub(super) fn not_ready(text: &'static str) -> Self {
        Self::new(Code::Unavailable, text)
    }

    fn storage(cause: db::Error) -> Self {
        let (code, text, retry_after) = match &cause {
            db::Error::Busy => (Code::Unavailable, "the server is busy, try again", Some(1)),
            db::Error::Full => (Code::StorageFull, "the server has no space left", Some(60)),
            db::Error::Unavailable(_) => {
                (Code::Unavailable, "the database is not available, try again", Some(1))
            }
            db::Error::Unknown => (
                Code::Unavailable,
                "whether it was done is not known: try again, with the same Idempotency-Key",
                Some(1),
            ),
            db::Error::Failed(_) | db::Error::Closed => {
                (Code::Unavailable, "the server is stopping", Some(5))
            }
            _ => (Code::Internal, "internal error", None),
        };
        let mut error = Self::new(code, text);
        error.0.cause = Some(cause);
        retry_after.into_iter().fold(error, Self::retry_after)
    }
}

impl From<mail::Invalid> for Error {
    fn from(invalid: mail::Invalid) -> Self {
        Self::invalid(vec![FieldError::field(invalid.field, "invalid", invalid.problem)])
    }
}

impl From<db::Error> for Error {
    fn from(error: db::Error) -> Self {
        Self::storage(error)
    }
}

impl From<mail::Error> for Error {
    #[deny(clippy::wildcard_enum_match_arm)]
    fn from(error: mail::Error) -> Self {
        let code = match &error {
            mail::Error::Invalid(invalid) => return Self::from(invalid.clone()),
            mail::Error::Db(cause) => return Self::storage(cause.clone()),
            mail::Error::NameTaken => {
                let taken = FieldError::field("username", "taken", "it is taken");
                return Self::new(Code::UsernameTaken, error.to_string()).with_fields(vec![taken]);
            }
            mail::Error::Throttled(over) | mail::Error::TooManyRegistrations(over) => {
                return Self::new(Code::RateLimited, error.to_string()).over(over);
            }
            mail::Error::QuotaExceeded(over) => {
                return Self::new(Code::QuotaExceeded, error.to_string()).over(over);
            }
            mail::Error::TooManyTokens => Code::TooManyTokens,
            mail::Error::KeyReused => Code::KeyReused,
            mail::Error::NotLoggedIn => Code::Unauthenticated,
            mail::Error::AuthenticationFailed => Code::AuthenticationFailed,
            mail::Error::ReceiverUnavailable => Code::RecipientUnavailable,
            mail::Error::UnknownReceiver => Code::UnknownRecipient,
            mail::Error::NotTheSender => Code::NotTheSender,
            mail::Error::ChangesForgotten => Code::CannotCalculateChanges,
            mail::Error::StaleTag => Code::PreconditionFailed,
            mail::Error::NotFound | mail::Error::UnknownUser => Code::NotFound,
        };
        Self::new(code, error.to_string())
    }
}

impl IntoResponse for Error {
    /// An answer without a body yet: only the edge knows which shape it must have.
    fn into_response(self) -> Response {
        let mut fault = self.0;
        let headers = std::mem::take(&mut fault.headers);
        let mut response = fault.code.facts().status.into_response();
        *response.headers_mut() = headers;
        response.extensions_mut().insert(fault);
        response
    }
}

impl Fault {
    /// What is said of an answer that failed without saying why.
    pub(super) fn unknown(status: StatusCode) -> Self {
        let known = Code::ALL.iter().find(|code| code.facts().status == status);
        *Error::new(*known.unwrap_or(&Code::Internal), "internal error").0
    }
}

/// Answers for a path that is none.
pub(super) async fn no_such_path(uri: Uri) -> Error {
    Error::new(Code::NotFound, format!("there is nothing at {}", uri.path()))
}

/// Answers for a method that a path does not have; the router adds `Allow`.
pub(super) async fn wrong_method(method: Method) -> Error {
    Error::new(Code::MethodNotAllowed, format!("{method} is not possible here"))
}
