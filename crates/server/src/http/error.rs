//! Errors of both APIs, and how an error of the domain becomes one.

use std::borrow::Cow;

use axum::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use domain::sending::{Refusal, RefusedRecipient};
use domain::{Exceeded, Missing};
use serde::Serialize;
use utoipa::ToSchema;

use super::code::Code;

/// The limits, and what is left of them (draft-ietf-httpapi-ratelimit-headers).
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// An error response. [`super::handle`] writes it in the shape of the API that was called.
#[derive(Debug)]
pub struct Error(Box<Fault>);

/// What an [`Error`] says.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) code: Code,
    /// The text for the author of the request.
    pub(super) detail: Cow<'static, str>,
    pub(super) fields: Vec<FieldError>,
    /// After how many seconds trying again makes sense.
    pub(super) retry_after: Option<i64>,
    /// The names of the limits that are exhausted.
    pub(super) violated_policies: Vec<&'static str>,
    headers: HeaderMap,
    /// For the log alone.
    pub(super) cause: Option<db::Error>,
}

/// One thing that is wrong with the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// The place in the body, as a JSON Pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/to/0", nullable = false)]
    pub(super) pointer: Option<String>,
    /// The parameter of the query string.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) parameter: Option<String>,
    /// The id of a recipient whom the body does not name: of a reply without `to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, example = 7)]
    pub(super) to: Option<i64>,
    /// A sentence for the author of the request.
    #[schema(example = "it is missing")]
    pub(super) detail: Cow<'static, str>,
    /// A fixed word for programs.
    #[schema(example = "missing")]
    pub(super) code: &'static str,
}

impl FieldError {
    fn field(name: &str, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let pointer = Some(format!("#/{name}"));
        Self { pointer, parameter: None, to: None, detail: detail.into(), code }
    }

    /// What is not an object, and should be.
    pub(super) fn no_object() -> Self {
        let (pointer, detail) = (Some("#".to_owned()), "it must be an object".into());
        Self { pointer, parameter: None, to: None, detail, code: "wrong_type" }
    }

    fn of_recipient((whom, refusal): &(RefusedRecipient, Refusal)) -> Self {
        let (field, to) = match whom {
            RefusedRecipient::Named(at) => (format!("to/{at}"), None),
            RefusedRecipient::FromParent(user) => ("in_reply_to".to_owned(), Some(user.get())),
        };
        let code = Code::from(*refusal).facts().slug;
        Self { to, ..Self::field(&field, code, refusal.to_string()) }
    }

    fn place(&self) -> &str {
        let pointer = self.pointer.as_deref().map(|pointer| pointer.trim_start_matches("#/"));
        pointer.or(self.parameter.as_deref()).unwrap_or_default()
    }
}

impl Error {
    /// An error with a text for the author of the request.
    pub(super) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Fault {
            code,
            detail: detail.into(),
            fields: vec![],
            retry_after: None,
            violated_policies: vec![],
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    pub(super) fn code(&self) -> Code {
        self.0.code
    }

    /// Invalid input, with everything that is wrong with it.
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

    /// Everything that is wrong with one of several things of a request; without a field of its own
    /// it is wrong with `field`.
    pub(super) fn into_fields(self, field: &str) -> Vec<FieldError> {
        let Fault { code, detail, fields, .. } = *self.0;
        if fields.is_empty() {
            return vec![FieldError::field(field, code.facts().slug, detail)];
        }
        fields
    }

    /// An error of the domain whose fields are parameters of the path.
    pub(super) fn in_path(error: domain::Error) -> Self {
        let mut error = Self::from(error);
        for field in &mut error.0.fields {
            field.parameter = Some(field.place().to_owned());
            field.pointer = None;
        }
        error
    }

    /// The same without people whom the request has not named.
    pub(super) fn naming_nobody(mut self) -> Self {
        self.0.fields.retain(|field| field.to.is_none());
        self
    }

    /// How many recipients there were, where a message reached none of them.
    pub(super) fn refused_recipients(&self) -> usize {
        match self.0.code {
            Code::RecipientUnavailable
            | Code::BlockedByYou
            | Code::NoReplies
            | Code::UnknownRecipient => self.0.fields.len(),
            _ => 0,
        }
    }

    /// Adds the number of seconds after which trying again makes sense.
    pub(super) fn retry_after(mut self, seconds: i64) -> Self {
        self.0.retry_after = Some(seconds);
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    fn exceeded(mut self, limit: &Exceeded) -> Self {
        let policy = format!("\"{}\";q={};w={}", limit.name, limit.limit, limit.window_seconds);
        let left = format!("\"{}\";r=0;t={}", limit.name, limit.retry_after);
        let value = |text| HeaderValue::try_from(text).expect("names of limits are letters");
        self.0.violated_policies.push(limit.name);
        self.retry_after(limit.retry_after)
            .header(RATE_LIMIT_POLICY, value(policy))
            .header(RATE_LIMIT, value(left))
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The request has no valid session and no token.
    pub(super) fn not_logged_in() -> Self {
        Self::new(Code::Unauthenticated, "log in first")
    }

    pub(super) fn insufficient_scope(scope: &str) -> Self {
        Self::needs_scope(Code::InsufficientScope, "the token", scope)
    }

    /// What needs a scope that the caller does not have.
    pub(super) fn needs_scope(code: Code, what: &str, scope: &str) -> Self {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        let challenge = HeaderValue::try_from(challenge).expect("scopes are ASCII");
        Self::new(code, format!("{what} needs the scope {scope}"))
            .header(WWW_AUTHENTICATE, challenge)
    }

    /// The body cannot be read, or is not the JSON that it must be.
    pub(super) fn malformed(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::MalformedJson, text)
    }
}

impl From<domain::Invalid> for Error {
    fn from(invalid: domain::Invalid) -> Self {
        Self::invalid(vec![FieldError::field(invalid.field, "invalid", invalid.problem)])
    }
}

impl From<db::Error> for Error {
    fn from(cause: db::Error) -> Self {
        let (code, text, retry_after) = match &cause {
            db::Error::Busy => (Code::Unavailable, "the server is busy, try again", 1),
            db::Error::Full => (Code::StorageFull, "the server has no space left", 60),
            db::Error::Unavailable(_) => {
                (Code::Unavailable, "the database is not available, try again", 1)
            }
            db::Error::Unknown => {
                let text = "it is not known whether the request took effect: \
                            try again with the same Idempotency-Key";
                (Code::Unavailable, text, 1)
            }
            db::Error::Failed(_) | db::Error::Closed => {
                (Code::Unavailable, "the server is stopping", 5)
            }
            _ => (Code::Internal, "internal error", 0),
        };
        let mut error = Self::new(code, text);
        error.0.cause = Some(cause);
        if retry_after > 0 { error.retry_after(retry_after) } else { error }
    }
}

impl From<domain::Error> for Error {
    #[deny(clippy::wildcard_enum_match_arm)]
    fn from(error: domain::Error) -> Self {
        let detail = error.to_string();
        match error {
            domain::Error::Invalid(invalid) => Self::from(invalid),
            domain::Error::Db(cause) => Self::from(cause),
            domain::Error::NameTaken => {
                let taken = FieldError::field("username", "taken", "it is taken");
                Self::new(Code::UsernameTaken, detail).with_fields(vec![taken])
            }
            domain::Error::NameReserved(field) => {
                let reserved = FieldError::field(field, "name_reserved", "it is reserved");
                Self::new(Code::NameReserved, detail).with_fields(vec![reserved])
            }
            domain::Error::SystemUser => Self::new(Code::SystemUser, detail),
            domain::Error::Throttled(limit) | domain::Error::TooManyRegistrations(limit) => {
                Self::new(Code::RateLimited, detail).exceeded(&limit)
            }
            domain::Error::QuotaExceeded(limit) => {
                Self::new(Code::QuotaExceeded, detail).exceeded(&limit)
            }
            domain::Error::TooManyTokens => Self::new(Code::TooManyTokens, detail),
            domain::Error::KeyReused => {
                let detail = "the Idempotency-Key was already used for another request";
                Self::new(Code::KeyReused, detail)
            }
            domain::Error::TooManyKeys(limit) => {
                Self::new(Code::TooManyKeys, detail).exceeded(&limit)
            }
            domain::Error::NotLoggedIn => Self::not_logged_in(),
            domain::Error::FreshLoginRequired => Self::new(Code::FreshLoginRequired, detail),
            domain::Error::AuthenticationFailed => Self::new(Code::AuthenticationFailed, detail),
            // The text names the field of the classic API; /v1 sends the meaning of the code.
            domain::Error::ReachesNobody(refused) => {
                Self::new(Refusal::of_all(&refused).into(), format!("receiver_id: {detail}"))
                    .with_fields(refused.iter().map(FieldError::of_recipient).collect())
            }
            domain::Error::NotTheSender => Self::new(Code::NotTheSender, detail),
            domain::Error::ChangesForgotten => Self::new(Code::CannotCalculateChanges, detail),
            domain::Error::StaleTag => Self::new(Code::PreconditionFailed, detail),
            domain::Error::NotFound(_) => Self::new(Code::NotFound, detail),
            domain::Error::UserDeactivated => Self::new(Code::UserDeactivated, detail),
            domain::Error::UnknownUser => Self::from(domain::Error::NotFound(Missing::User)),
            domain::Error::UserErased => Self::new(Code::UserErased, detail),
            domain::Error::ExternalIdTaken => Self::new(Code::ExternalIdTaken, detail),
            domain::Error::AlreadyLinked => Self::new(Code::AlreadyLinked, detail),
        }
    }
}

impl IntoResponse for Error {
    /// The body is added in `problem.rs`, which knows the shape.
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
    /// The error of a response that failed without saying why.
    pub(super) fn unknown(status: StatusCode) -> Self {
        let known = Code::ALL.iter().find(|code| code.facts().status == status);
        *Error::new(*known.unwrap_or(&Code::Internal), "internal error").0
    }
}

pub(super) async fn no_such_path(uri: Uri) -> Error {
    let path: String = uri.path().chars().take(200).collect();
    Error::new(Code::NotFound, format!("there is nothing at {path}"))
}

/// Refuses a method that the path does not support; the router adds `Allow`.
pub(super) async fn wrong_method(method: Method) -> Error {
    Error::new(
        Code::MethodNotAllowed,
        format!("{method} is not allowed here: the header Allow lists what is"),
    )
}
