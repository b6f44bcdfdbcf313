//! The bodies of the classic API: JSON whatever the Content-Type says, also with GET and DELETE.

use std::borrow::Cow;
use std::fmt;

use axum::extract::{FromRequest, Query, Request};
use axum::http::Uri;
use bytes::Bytes;
use mail::{Invalid, MessageId, UserId};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::{Error, body};
use crate::http::App;

/// What a client sent, not yet looked into.
pub(super) struct Input {
    body: Bytes,
    query: Option<String>,
}

impl FromRequest<App> for Input {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let body = body::read(app, &parts.headers, body).await?;
        Ok(Self { body, query: query(&parts.uri)? })
    }
}

/// The `message_id` of a query string.
fn query(uri: &Uri) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Named {
        message_id: Option<String>,
    }
    if uri.query().is_none() {
        return Ok(None);
    }
    let named = Query::<Named>::try_from_uri(uri);
    named
        .map(|Query(named)| named.message_id)
        .map_err(|_cause| Error::malformed("message_id: the query string cannot be read"))
}

impl Input {
    /// The fields of the body; of no body at all, none.
    ///
    /// # Errors
    /// Where the body is not a JSON object.
    pub(super) fn fields(&self) -> Result<Fields<'_>, Error> {
        let mut fields = match self.body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => Fields::default(),
            // A list would be taken for the fields in their order.
            Some(b'{') => serde_json::from_slice(&self.body).map_err(|cause| {
                Error::malformed(format!("body: it is not the JSON that is expected: {cause}"))
            })?,
            Some(_) => return Err(Error::malformed("body: it must be a JSON object")),
        };
        if let (Field::Missing, Some(id)) = (&fields.message_id, &self.query) {
            fields.message_id = Field::Text(Cow::Borrowed(id));
        }
        Ok(fields)
    }
}

/// All fields that the classic API knows; others are ignored.
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
}

impl Fields<'_> {
    /// The user that `receiver_id` names.
    ///
    /// # Errors
    /// [`Invalid`] where it is no whole number; a number that no user can have is an unknown user.
    pub(super) fn receiver(&self) -> mail::Result<UserId> {
        let number = self.receiver_id.number("receiver_id")?;
        UserId::new(number).ok_or(mail::Error::UnknownReceiver)
    }

    /// The message that `message_id` names.
    ///
    /// # Errors
    /// [`Invalid`] where it is no whole number; a number that no message can have is not found.
    pub(super) fn message(&self) -> mail::Result<MessageId> {
        let number = self.message_id.number("message_id")?;
        MessageId::new(number).ok_or(mail::Error::NotFound)
    }
}

/// The value of a field, before it is known whether it is of the right kind.
#[derive(Default)]
pub(super) enum Field<'a> {
    /// It is not there.
    #[default]
    Missing,
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number.
    Number(i64),
    /// A whole number too large for any id.
    Huge,
    /// Anything else.
    Other,
}

impl Field<'_> {
    /// The text.
    ///
    /// # Errors
    /// Where it is missing or no text.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, Invalid> {
        match self {
            Field::Text(text) => Ok(text),
            Field::Missing => Err(Invalid::new(name, "it is missing")),
            Field::Number(_) | Field::Huge | Field::Other => {
                Err(Invalid::new(name, "it must be text"))
            }
        }
    }

    /// The whole number, written as one or as decimal digits; one beyond 64 bits is the largest.
    fn number(&self, name: &'static str) -> Result<i64, Invalid> {
        let wrong = || Invalid::new(name, "it must be a whole number");
        match self {
            Field::Number(number) => Ok(*number),
            Field::Huge => Ok(i64::MAX),
            Field::Text(text) => {
                let text = text.trim();
                let digits = text.strip_prefix('-').unwrap_or(text);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(wrong());
                }
                Ok(text.parse().unwrap_or(i64::MAX))
            }
            Field::Missing => Err(Invalid::new(name, "it is missing")),
            Field::Other => Err(wrong()),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Kinds)
    }
}

struct Kinds;

impl<'de> Visitor<'de> for Kinds {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Field<'de>, E> {
        Ok(Field::Number(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Field<'de>, E> {
        Ok(i64::try_from(number).map_or(Field::Huge, Field::Number))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Field<'de>, E> {
        Ok(Field::Missing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}
