//! The bodies of the classic API: JSON whatever the Content-Type says, also with GET and DELETE.

use axum::extract::{FromRequest, Query, Request};
use bytes::Bytes;
use domain::sending::{Refusal, RefusedRecipient};
use domain::{Invalid, MessageId, Missing, UserId};
use serde::Deserialize;
use serde_json::Number;
use serde_json::value::RawValue;

use super::{Error, body};
use crate::http::App;

/// The body of a request and the parameter of its query string, not yet parsed.
pub(super) struct Input {
    body: Bytes,
    message_id: Option<String>,
}

impl FromRequest<App> for Input {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Parameters {
            message_id: Option<String>,
        }
        let (parts, body) = request.into_parts();
        let body = body::read(app, &parts, body).await?;
        if !body.is_empty() && body::is_encoded(&parts.headers) {
            return Err(Error::malformed("body: send it as it is, without Content-Encoding"));
        }
        let Query(Parameters { message_id }) = Query::try_from_uri(&parts.uri)
            .map_err(|_cause| Error::malformed("message_id: the query string cannot be read"))?;
        Ok(Self { body, message_id })
    }
}

impl Input {
    /// The fields of the body; an empty body has none.
    ///
    /// # Errors
    /// If the body is not a JSON object.
    pub(super) fn fields(&self) -> Result<Fields<'_>, Error> {
        let fields = match self.body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => Fields::default(),
            // serde would read an array as the fields in their order.
            Some(b'{') => serde_json::from_slice(&self.body).map_err(|cause| {
                Error::malformed(format!("body: it is not the expected JSON: {cause}"))
            })?,
            Some(_) => return Err(Error::malformed("body: it must be a JSON object")),
        };
        Ok(Fields { query: self.message_id.as_deref(), ..fields })
    }
}

/// All fields of the classic API; others are ignored.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields<'a> {
    #[serde(borrow)]
    pub username: Field<'a>,
    #[serde(borrow)]
    pub email: Field<'a>,
    #[serde(borrow)]
    pub password: Field<'a>,
    #[serde(borrow)]
    receiver_id: Field<'a>,
    #[serde(borrow)]
    pub subject: Field<'a>,
    #[serde(borrow)]
    pub body: Field<'a>,
    #[serde(borrow)]
    message_id: Field<'a>,
    /// `message_id` of the query string.
    #[serde(skip)]
    query: Option<&'a str>,
}

impl Fields<'_> {
    /// # Errors
    /// [`Invalid`] if it is not a whole number; a number out of range is an unknown user.
    pub(super) fn receiver(&self) -> domain::Result<UserId> {
        let number = self.receiver_id.number("receiver_id")?;
        UserId::new(number).ok_or_else(|| {
            let unknown = (RefusedRecipient::Named(0), Refusal::Unknown);
            domain::Error::ReachesNobody(vec![unknown])
        })
    }

    /// # Errors
    /// [`Invalid`] if it is not a whole number, or not the same in the body and the query string; a
    /// number out of range is not found.
    pub(super) fn message(&self) -> domain::Result<MessageId> {
        let asked = self.query.map(|text| digits("message_id", text)).transpose()?;
        let number = match (&self.message_id, asked) {
            (Field(None), Some(number)) => number,
            (field, asked) => {
                let number = field.number("message_id")?;
                if asked.is_some_and(|asked| asked != number) {
                    let problem = "it must be the same in the body and in the query string";
                    return Err(Invalid::new("message_id", problem).into());
                }
                number
            }
        };
        MessageId::new(number).ok_or(domain::Error::NotFound(Missing::Message))
    }
}

/// The value of a field as JSON; `null` counts as missing.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Field<'a>(#[serde(borrow)] Option<&'a RawValue>);

impl Field<'_> {
    fn json(&self, name: &'static str) -> Result<&str, Invalid> {
        self.0.map(RawValue::get).ok_or_else(|| Invalid::new(name, "it is missing"))
    }

    /// # Errors
    /// If it is missing or not text.
    pub(super) fn text(&self, name: &'static str) -> Result<String, Invalid> {
        let text = serde_json::from_str(self.json(name)?);
        text.map_err(|_cause| Invalid::new(name, "it must be text"))
    }

    /// A whole number, also written as text; one beyond 64 bits is the largest.
    fn number(&self, name: &'static str) -> Result<i64, Invalid> {
        match serde_json::from_str::<Number>(self.json(name)?) {
            Ok(number) if number.is_f64() => Err(not_whole(name)),
            Ok(number) => Ok(number.as_i64().unwrap_or(i64::MAX)),
            Err(_) => digits(name, &self.text(name).map_err(|_text| not_whole(name))?),
        }
    }
}

fn digits(name: &'static str, text: &str) -> Result<i64, Invalid> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_whole(name));
    }
    Ok(text.parse().unwrap_or(i64::MAX))
}

fn not_whole(name: &'static str) -> Invalid {
    Invalid::new(name, "it must be a whole number")
}
