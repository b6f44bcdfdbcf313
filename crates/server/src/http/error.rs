//! What is answered when something was not done: the one match from the domain to a status.

use std::borrow::Cow;

use axum::Json;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An answer that says what is wrong, in the shape of the classic API.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    text: Cow<'static, str>,
    retry_after: Option<i64>,
    cause: Option<db::Error>,
}

/// A failure on our side, for the edge: it tells the log the cause and the client only an id.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// What the client is told.
    pub(super) text: Cow<'static, str>,
    /// What the log is told.
    pub(super) cause: Option<db::Error>,
}

impl Error {
    fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, text: text.into(), retry_after: None, cause: None }
    }

    /// The login is missing.
    pub fn not_logged_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "login first")
    }

    /// The request comes from a page of another site.
    pub fn foreign() -> Self {
        Self::new(StatusCode::FORBIDDEN, "the request comes from another site")
    }

    /// The CSRF token is missing or wrong.
    pub fn no_csrf_token() -> Self {
        let text = "CSRF: send the token of GET /users/token in the header X-CSRFToken and in the \
                    cookie csrftoken";
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// Nobody may register.
    pub fn registration_closed() -> Self {
        Self::new(StatusCode::FORBIDDEN, "registration is closed")
    }

    /// The body is not what it must be.
    pub fn bad_body(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// The body is larger than any that could be accepted.
    pub fn body_too_large(max: usize) -> Self {
        let text = format!("body: the request must have at most {max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// The body did not come in time.
    pub fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "body: it did not arrive in time")
    }

    /// The server is not ready.
    pub fn not_ready(text: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

impl From<mail::Invalid> for Error {
    fn from(invalid: mail::Invalid) -> Self {
        Self::from(mail::Error::Invalid(invalid))
    }
}

impl From<db::Error> for Error {
    fn from(error: db::Error) -> Self {
        Self::from(mail::Error::Db(error))
    }
}

impl From<mail::Error> for Error {
    #[deny(clippy::wildcard_enum_match_arm)]
    fn from(error: mail::Error) -> Self {
        let status = match &error {
            mail::Error::Invalid(_) | mail::Error::NameTaken => StatusCode::BAD_REQUEST,
            mail::Error::NotLoggedIn | mail::Error::AuthenticationFailed => {
                StatusCode::UNAUTHORIZED
            }
            mail::Error::ReceiverUnavailable => StatusCode::FORBIDDEN,
            mail::Error::NotFound | mail::Error::UnknownReceiver | mail::Error::UnknownUser => {
                StatusCode::NOT_FOUND
            }
            mail::Error::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            mail::Error::Db(cause) => return Self::storage(cause.clone()),
        };
        let mut answer = Self::new(status, error.to_string());
        if let mail::Error::Throttled { retry_after } = error {
            answer.retry_after = Some(retry_after);
        }
        answer
    }
}

impl Error {
    fn storage(cause: db::Error) -> Self {
        let (status, text, retry_after) = match &cause {
            db::Error::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, "the server is busy, try again", Some(1))
            }
            db::Error::Full => {
                (StatusCode::INSUFFICIENT_STORAGE, "the server has no space left", Some(60))
            }
            db::Error::Failed(_) | db::Error::Closed => {
                (StatusCode::SERVICE_UNAVAILABLE, "the server is stopping", Some(5))
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal error", None),
        };
        Self { status, text: text.into(), retry_after, cause: Some(cause) }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Body { error: &self.text })).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status.is_server_error() {
            let failure = Failure { text: self.text, cause: self.cause };
            response.extensions_mut().insert(failure);
        }
        response
    }
}

/// Answers for a path that is none.
pub(super) async fn no_such_path(uri: Uri) -> Error {
    Error::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

/// Answers for a method that a path does not have; the router adds `Allow`.
pub(super) async fn wrong_method(method: Method) -> Error {
    Error::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not possible here"))
}
