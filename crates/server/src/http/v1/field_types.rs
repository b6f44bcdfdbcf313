//! The types of fields: how each is parsed, and its schema.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::lists::FolderFilter;
use domain::passwords::Password;
use domain::search::Query;
use domain::sending::{ClientId, Metadata};
use domain::text::{
    Body, DisplayName, Email, ExternalId, Subject, TokenName, USERNAME_CHARS, Username,
};
use domain::tokens::{Scope, Scopes};
use domain::users::{AcceptFrom, Kind};
use domain::{ConversationId, Invalid, LARGEST_ID, MessageId, Missing, Time, UserId, UserRef};
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Number, Value, json};
use utoipa::openapi::schema::Schema;

use super::declare::body_schema;
use super::document::Schemas;
use super::reader::{FieldContext, FieldSet, FieldType, Source};

/// The items of a page by default.
const DEFAULT_LIMIT: u16 = 50;

/// Types that are text in JSON: each with its schema and its parser.
macro_rules! texts {
    ($($type:ty, $schema:tt, $parse:expr;)*) => {$(
        impl FieldType for $type {
            fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
                let parse: fn(String, &FieldContext<'_>) -> Result<Self, Invalid> = $parse;
                match value {
                    Value::String(text) => {
                        let parsed = parse(text, field);
                        field.parsed(parsed)
                    }
                    _ => field.refuse("wrong_type", "it must be text"),
                }
            }

            fn schema(_schemas: &mut Schemas) -> Value {
                let mut schema = json!($schema);
                schema["type"] = "string".into();
                schema
            }
        }
    )*};
}

texts! {
    String, {}, |text, _field| Ok(text);
    EnteredPassword, {}, |text, _field| Ok(Self(text));
    // Not `password`: generators make of that a type that writes asterisks.
    Password, { "format": "new-password" }, |text, _field| Self::parse_any(&text);
    Username, { "format": "username", "minLength": 1, "maxLength": USERNAME_CHARS },
        |text, _field| Self::parse(&text);
    UsernamePrefix, { "minLength": 1, "maxLength": USERNAME_CHARS }, |text, _field| {
        match text.chars().nth(USERNAME_CHARS) {
            None if !text.is_empty() => Ok(Self(text)),
            _ => Err(Invalid::new("prefix", "it must have 1 to 150 characters")),
        }
    };
    Email, { "format": "idn-email" }, |text, _field| Self::parse(&text);
    DisplayName, { "format": "label", "minLength": 1, "maxLength": 100 },
        |text, _field| Self::parse(&text);
    TokenName, { "format": "label", "minLength": 1, "maxLength": 100 },
        |text, _field| Self::parse(&text);
    ExternalId, { "format": "external-id", "minLength": 1, "maxLength": ExternalId::CHARS },
        |text, _field| Self::parse(&text);
    SentMessages, { "enum": ["keep", "withdraw"], "default": "keep" }, |text, _field| {
        match text.as_str() {
            "keep" => Ok(Self::Keep),
            "withdraw" => Ok(Self::Withdraw),
            _ => Err(Invalid::new("messages", "it must be keep or withdraw")),
        }
    };
    ChangeCursor, { "format": "cursor" }, |text, _field| {
        let problem = "it must be the next_cursor of a page";
        Self::parse(&text).ok_or_else(|| Invalid::new("cursor", problem))
    };
    Subject, {}, |text, field| Self::parse(text, field.shared.lengths);
    Body, {}, |text, field| Self::parse(text, field.shared.lengths);
    ClientId, { "minLength": 1, "maxLength": 255 }, |text, _field| Self::parse(&text);
    Query, {}, |text, _field| Ok(Self::parse(&text));
    Time, { "format": "date-time" }, |text, _field| {
        let problem = "it must look like 2026-12-31T00:00:00Z";
        let time = time(&text).ok_or_else(|| Invalid::new("time", problem));
        time.map(|time| Self(time.as_microsecond()))
    };
    Kind, { "enum": Kind::ALL.map(Kind::name) }, |text, _field| {
        Kind::parse(&text).ok_or_else(|| Invalid::new("kind", "it must be person or system"))
    };
    AcceptFrom, { "description": ACCEPT_FROM, "enum": Self::ALL.map(Self::name) },
        |text, _field| {
            let problem = "it must be everyone, known or nobody";
            Self::parse(&text).ok_or_else(|| Invalid::new("accept_from", problem))
        };
    Scope, { "enum": Self::ALL.map(Self::name) }, |text, _field| {
        let problem = "each must be messages:read, messages:write or account";
        let scope = Self::ALL.into_iter().find(|scope| scope.name() == text);
        scope.ok_or_else(|| Invalid::new("scopes", problem))
    };
    FolderFilter, { "enum": FOLDERS.map(|(name, _)| name), "default": FOLDERS[0].0 }, |text, _| {
        let folder = FOLDERS.into_iter().find(|(name, _)| *name == text);
        let problem = "it must be inbox, sent, archive, trash or all";
        folder.map(|(_, folder)| folder).ok_or_else(|| Invalid::new("folder", problem))
    };
    State, { "pattern": "^[0-9]{1,18}$" }, |text, _field| {
        let problem = "it must be the state of a mailbox";
        Self::parse(&text).ok_or_else(|| Invalid::new("since", problem))
    };
    Cursor, { "format": "cursor" }, |text, _field| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        let id = bytes.map(i64::from_be_bytes).filter(|id| (1..=LARGEST_ID).contains(id));
        id.map(Self).ok_or_else(|| Invalid::new("cursor", "it must be the next_cursor of a page"))
    };
}

/// A time. The last hours of the year 9999, which stand for "never", are later than the last time
/// that jiff has, and become that.
fn time(text: &str) -> Option<Timestamp> {
    let is_later = || {
        let mut days = ["9999-12-30", "9999-12-31"].iter();
        let of_day = days.find_map(|day| text.strip_prefix(day))?;
        format!("9999-12-29{of_day}").parse::<Timestamp>().ok()
    };
    text.parse().ok().or_else(|| is_later().map(|_| Timestamp::MAX))
}

const ACCEPT_FROM: &str = "Who can send messages to the owner, besides those whom they block: \
    `everyone`; `known`: the people to whom the owner has written; `nobody`: these people too, but \
    only replies in a conversation in which the owner has written.";

const FOLDERS: [(&str, FolderFilter); 5] = [
    ("inbox", FolderFilter::Inbox),
    ("sent", FolderFilter::Sent),
    ("archive", FolderFilter::Archive),
    ("trash", FolderFilter::Trash),
    ("all", FolderFilter::All),
];

/// A password to check, not to set.
pub(super) struct EnteredPassword(pub(super) String);

/// The start of a name.
pub(super) struct UsernamePrefix(pub(super) String);

/// The state of a mailbox: its modseq in digits.
pub(super) struct State(pub(super) i64);

impl State {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(Self)
    }
}

/// Where a page starts: the id of the last item of the page before.
pub(super) struct Cursor(i64);

impl Cursor {
    /// The cursor as clients see it, opaque.
    pub(super) fn encode(id: i64) -> String {
        URL_SAFE_NO_PAD.encode(id.to_be_bytes())
    }

    pub(super) fn id<T: NumericId>(&self) -> Option<T> {
        T::from_number(self.0)
    }
}

/// Where a page of changes starts: the time of the last change of the page before, and its user.
pub(super) struct ChangeCursor(pub(super) Time, pub(super) i64);

impl ChangeCursor {
    fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (at, user) = bytes.split_at(8);
        let number = |bytes: &[u8]| bytes.try_into().ok().map(i64::from_be_bytes);
        Some(Self(Time(number(at)?), number(user)?))
    }

    /// The cursor as clients see it, opaque.
    pub(super) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode([self.0.0.to_be_bytes(), self.1.to_be_bytes()].concat())
    }
}

/// What happens to the messages of a user who is erased.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum SentMessages {
    #[default]
    Keep,
    Withdraw,
}

/// How many items a page may have at most, up to `MAX`.
pub(super) struct Limit<const MAX: u16 = 100, const USUAL: u16 = DEFAULT_LIMIT>(pub(super) u16);

impl<const MAX: u16, const USUAL: u16> Default for Limit<MAX, USUAL> {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl<const MAX: u16, const USUAL: u16> FieldType for Limit<MAX, USUAL> {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let text = value.as_str().unwrap_or_default();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // What does not fit is a large number too.
        match text.parse().unwrap_or(u16::MAX) {
            limit if digits && limit > 0 => Some(Self(limit.min(MAX))),
            _ => field.refuse("invalid", "it must be a whole number from 1"),
        }
    }

    fn schema(_schemas: &mut Schemas) -> Value {
        json!({ "type": "integer", "minimum": 1, "default": USUAL })
    }
}

impl FieldType for bool {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        match (value, field.shared.source) {
            (Value::Bool(flag), _) => Some(flag),
            (Value::String(word), Source::Query) if word == "true" => Some(true),
            (Value::String(word), Source::Query) if word == "false" => Some(false),
            (_, Source::Query) => field.refuse("invalid", "it must be true or false"),
            (_, Source::Body) => field.refuse("wrong_type", "it must be true or false"),
        }
    }

    fn schema(_schemas: &mut Schemas) -> Value {
        json!({ "type": "boolean" })
    }
}

/// `true`; false would mean nothing.
pub(super) struct OnlyTrue;

impl FieldType for OnlyTrue {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let is_true = bool::read(value, field)?;
        is_true.then_some(Self).or_else(|| field.refuse("invalid", "it must be true"))
    }

    fn schema(_schemas: &mut Schemas) -> Value {
        json!({ "type": "boolean", "enum": [true] })
    }
}

/// The schema of a field type, for a view that shows the same.
pub(super) fn view_schema<T: FieldType>() -> Schema {
    let schema = T::schema(&mut Schemas::default());
    serde_json::from_value(schema).expect("it is a schema")
}

/// An id that is a number from 1.
pub(super) trait NumericId: Sized {
    const NOUN: Missing;

    /// `None` if no id has this number.
    fn from_number(number: i64) -> Option<Self>;
}

macro_rules! ids {
    ($($type:ident, $new:expr, $noun:ident;)*) => {$(
        impl NumericId for $type {
            const NOUN: Missing = Missing::$noun;

            fn from_number(number: i64) -> Option<Self> {
                $new(number)
            }
        }

        impl FieldType for $type {
            fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
                let number = match (value, field.shared.source) {
                    (Value::Number(number), _) => whole(&number),
                    (Value::String(digits), Source::Query) => digits.parse().ok(),
                    _ => return field.refuse("wrong_type", "it must be a whole number"),
                };
                let id = number.and_then(Self::from_number);
                id.or_else(|| field.refuse("invalid", "it must be an id: from 1, and below 2^53"))
            }

            fn schema(_schemas: &mut Schemas) -> Value {
                id_schema()
            }
        }
    )*};
}

ids! {
    UserId, UserId::new, User;
    MessageId, MessageId::new, Message;
    ConversationId, ConversationId::new, Conversation;
    SessionId, |id| Some(SessionId(id)), Session;
    TokenId, |id| Some(TokenId(id)), Token;
}

pub(super) struct SessionId(pub(super) i64);
pub(super) struct TokenId(pub(super) i64);

pub(super) fn id_schema() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": LARGEST_ID })
}

/// The id of a user in any notation.
pub(super) fn whole_id(number: &Number) -> Option<UserId> {
    whole(number).and_then(UserId::new)
}

/// A whole number in any notation: in JSON 7 and 7.0 are the same.
#[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
pub(super) fn whole(number: &Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = || number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT);
    number.as_i64().or_else(|| float().map(|float| float as i64))
}

impl<T: FieldSet> FieldType for T {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        field.object(value)
    }

    fn schema(schemas: &mut Schemas) -> Value {
        body_schema::<T>(schemas)
    }
}

/// A list of 1 to `MAX` items. All are parsed, even if one has an error.
pub(super) struct List<T, const MAX: usize>(pub(super) Vec<T>);

impl<T: FieldType, const MAX: usize> FieldType for List<T, MAX> {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let Value::Array(values) = value else {
            return field.refuse("wrong_type", "it must be a list");
        };
        if !(1..=MAX).contains(&values.len()) {
            return field.refuse("invalid", format!("it must have 1 to {MAX} items"));
        }
        let items = values.into_iter().enumerate();
        let items: Vec<_> =
            items.map(|(index, value)| T::read(value, &mut field.item(index))).collect();
        items.into_iter().collect::<Option<_>>().map(Self)
    }

    fn schema(schemas: &mut Schemas) -> Value {
        json!({ "type": "array", "items": T::schema(schemas), "minItems": 1, "maxItems": MAX })
    }
}

/// A recipient, and how the sender wrote it.
pub(super) struct Recipient(pub(super) UserRef, pub(super) Value);

impl FieldType for Recipient {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        UserRef::read(value.clone(), field).map(|to| Self(to, value))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        UserRef::schema(schemas)
    }
}

impl FieldType for Metadata {
    /// As the sender wrote it, so that no number loses a digit.
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        if !value.is_object() {
            return field.refuse("wrong_type", "it must be an object");
        }
        let written: BTreeMap<String, &RawValue> =
            serde_json::from_slice(&field.shared.bytes).expect("the body was parsed before");
        let text = written.get("metadata").map_or_else(|| value.to_string(), ToString::to_string);
        field.parsed(Self::parse(text))
    }

    fn schema(_schemas: &mut Schemas) -> Value {
        json!({ "type": "object", "additionalProperties": true })
    }
}

impl FieldType for Scopes {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let List::<Scope, { Scope::ALL.len() }>(scopes) = List::read(value, field)?;
        field.parsed(Self::parse(scopes.into_iter().map(Scope::name)))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let mut schema = List::<Scope, { Scope::ALL.len() }>::schema(schemas);
        schema["examples"] = json!([[Scope::ALL[0].name()]]);
        schema
    }
}
