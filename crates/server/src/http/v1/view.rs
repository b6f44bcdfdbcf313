//! Messages and users as responses show them.

use std::borrow::Cow;

use domain::envelopes::{BodyPart, Envelope};
use domain::looks::mixes_scripts;
use domain::messages::Message;
use domain::{Time, users};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::{Ref, Schema};

use crate::runtime::clock;

/// A user as other users see them.
#[derive(Serialize, ToSchema)]
#[schema(as = Person)]
pub(super) struct PersonView {
    #[schema(minimum = 1, example = 7)]
    pub(super) id: i64,
    #[schema(example = "dana")]
    pub(super) username: String,
    /// The username unless the user chose another name.
    #[schema(example = "Dana Deer")]
    pub(super) display_name: String,
    /// The id that the app's own server has given the user; null where it has given none.
    #[schema(required, example = "42")]
    pub(super) external_id: Option<String>,
    /// Whether it is a person, or the app itself.
    #[schema(schema_with = kind)]
    pub(super) kind: &'static str,
    /// Present where a word of a name is written in scripts that do not belong together, such as
    /// `аnn` with a Cyrillic `а`: show the username and the id as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false, example = true)]
    pub(super) mixed_scripts: bool,
}

fn kind() -> Schema {
    let names = users::Kind::ALL.map(users::Kind::name);
    let schema = json!({
        "type": "string",
        "description": "Whether it is a person, or the app itself.",
        "enum": names,
        "example": names[0],
    });
    serde_json::from_value(schema).expect("it is a schema")
}

impl From<users::Person> for PersonView {
    fn from(person: users::Person) -> Self {
        let users::Person { id, username, display_name, external_id, kind } = person;
        let mixed_scripts = mixes_scripts(&username) || mixes_scripts(&display_name);
        let (id, kind) = (id.get(), kind.name());
        Self { id, username, display_name, external_id, kind, mixed_scripts }
    }
}

/// The senders and recipients of some messages, ascending by id.
pub(super) struct People(Vec<PersonView>);

impl People {
    pub(super) fn new(people: Vec<users::Person>) -> Self {
        Self(people.into_iter().map(PersonView::from).collect())
    }

    /// One of them. Users are never removed from the table, so there is one for each id.
    pub(super) fn get(&self, id: domain::UserId) -> Option<&PersonView> {
        let at = self.0.binary_search_by_key(&id.get(), |person| person.id).ok()?;
        self.0.get(at)
    }

    /// These of them, in this order.
    pub(super) fn all(&self, ids: &[domain::UserId]) -> Vec<&PersonView> {
        ids.iter().filter_map(|id| self.get(*id)).collect()
    }
}

/// Declares a view of a message, which may have further fields of its own.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident as $schema:ident {
        $($(#[$attribute:meta])* $field:ident: $type:ty = $make:expr;)*
    }) => {
        $(#[$doc])*
        #[derive(Serialize, ToSchema)]
        #[schema(as = $schema)]
        pub(super) struct $name<'a> {
            #[schema(minimum = 1, example = 42)]
            id: i64,
            /// The id of the first message of the conversation.
            #[schema(minimum = 1, example = 40)]
            conversation_id: i64,
            /// The id of the message that it answers.
            #[schema(required, minimum = 1, example = 41)]
            in_reply_to: Option<i64>,
            #[schema(value_type = PersonView)]
            from: Option<&'a PersonView>,
            /// The recipients; in a list the first five, the caller among them if they are one.
            #[schema(value_type = Vec<PersonView>, min_items = 1)]
            to: Vec<&'a PersonView>,
            #[schema(example = "Re: Hello")]
            subject: &'a str,
            $($(#[$attribute])* pub(super) $field: $type,)*
            #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
            sent_at: String,
            /// When the caller read it; messages that they sent count as read.
            #[schema(required, format = DateTime)]
            read_at: Option<String>,
            #[schema(required, format = DateTime)]
            starred_at: Option<String>,
            #[schema(required, format = DateTime)]
            archived_at: Option<String>,
            #[schema(required, format = DateTime)]
            trashed_at: Option<String>,
            /// The sender's own name for the message, which only they see.
            #[schema(required, example = "outbox-17")]
            client_id: Option<&'a str>,
            /// The server key by which the app sent it for its sender, who alone sees this.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(nullable = false, example = "shop")]
            via: Option<&'a str>,
        }

        impl<'a> $name<'a> {
            pub(super) fn of(message: &'a Message, people: &'a People) -> Self {
                let Message { entry, envelope } = message;
                $(let $field: fn(&'a Envelope) -> $type = $make;)*
                let time = |time: Option<Time>| time.map(clock::rfc3339);
                let received = if entry.received { entry.read_at } else { Some(envelope.sent_at) };
                Self {
                    id: envelope.id.get(),
                    conversation_id: envelope.conversation.get(),
                    in_reply_to: envelope.in_reply_to.map(domain::MessageId::get),
                    from: people.get(envelope.from),
                    to: people.all(&envelope.to),
                    subject: &envelope.subject,
                    $($field: $field(envelope),)*
                    sent_at: clock::rfc3339(envelope.sent_at),
                    read_at: time(received),
                    starred_at: time(entry.starred_at),
                    archived_at: time(entry.archived_at),
                    trashed_at: time(entry.trashed_at),
                    client_id: envelope.client_id.as_deref().filter(|_| entry.sent),
                    via: envelope.via.as_deref().filter(|_| entry.sent),
                }
            }
        }
    };
}

/// As the sender wrote it.
fn metadata_of(envelope: &Envelope) -> Option<&RawValue> {
    envelope.metadata.as_deref().and_then(|json| serde_json::from_str(json).ok())
}

/// Without its own words generators would know only an object without members.
fn metadata() -> Schema {
    metadata_schema("What the app stores with the message.")
}

fn listed_metadata() -> Schema {
    metadata_schema("What the app stores with the message, with `fields=metadata` or `full`.")
}

fn metadata_schema(description: &str) -> Schema {
    let schema = json!({
        "type": ["object", "null"],
        "description": description,
        "additionalProperties": true,
    });
    serde_json::from_value(schema).expect("it is a schema")
}

pub(super) fn recipient() -> Ref {
    Ref::from_schema_name("UserRef")
}

/// A recipient whom a message did not reach.
#[derive(Serialize, ToSchema)]
pub(super) struct Refused<'a> {
    /// As the sender wrote it.
    #[schema(schema_with = recipient)]
    pub(super) to: Cow<'a, serde_json::Value>,
    /// `recipient_unavailable`, `blocked_by_you`, `no_replies` or `unknown_recipient`.
    #[schema(example = "unknown_recipient")]
    pub(super) code: &'a str,
}

message! {
    /// A message with its whole text.
    WholeMessage as Message {
        #[schema(example = "How are you?")]
        body: &'a str = |envelope| &envelope.body;
        #[schema(required, schema_with = metadata)]
        metadata: Option<&'a RawValue> = metadata_of;
    }
}

message! {
    /// The message that was sent.
    SentMessage as SentMessage {
        #[schema(example = "How are you?")]
        body: &'a str = |envelope| &envelope.body;
        #[schema(required, schema_with = metadata)]
        metadata: Option<&'a RawValue> = metadata_of;
        /// The recipients whom it did not reach.
        refused: Vec<Refused<'a>> = |_envelope| vec![];
    }
}

/// What changed, for a caller who may not read it.
#[derive(Serialize)]
pub(super) struct OnlyId {
    pub(super) id: i64,
}

/// What there is to say of a message that was sent where its sender may not read, or has deleted it
/// since.
#[derive(Serialize)]
pub(super) struct SentId<'a> {
    pub(super) id: i64,
    pub(super) refused: Vec<Refused<'a>>,
}

message! {
    /// A message in a list.
    MessageItem as MessageItem {
        /// How many recipients it has.
        #[schema(value_type = i64, minimum = 1, example = 1)]
        to_count: usize = |envelope| envelope.to_count;
        /// The first 140 characters of the text.
        #[schema(example = "How are")]
        snippet: &'a str = Envelope::snippet;
        /// The whole text, with `fields=full`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false, example = "How are you?")]
        body: Option<&'a str> = |_envelope| None;
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(required = false, schema_with = listed_metadata)]
        metadata: Option<Option<&'a RawValue>> = |_envelope| None;
    }
}

impl<'a> MessageItem<'a> {
    /// The item with what the caller has asked for by `fields`.
    pub(super) fn with(message: &'a Message, people: &'a People, fields: BodyPart) -> Self {
        let envelope = &message.envelope;
        Self {
            body: (fields == BodyPart::Whole).then_some(&*envelope.body),
            metadata: (fields != BodyPart::Snippet).then(|| metadata_of(envelope)),
            ..Self::of(message, people)
        }
    }
}
