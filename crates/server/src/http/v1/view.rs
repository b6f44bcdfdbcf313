//! Messages and users as responses show them.

use std::borrow::Cow;
use std::ops::Range;

use domain::envelopes::{BodyPart, Envelope};
use domain::looks::mixes_scripts;
use domain::messages::Message;
use domain::{Time, UserId, users};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::{Ref, Schema};

use crate::http::json::{IfAny, Ready, WriteJson, by_serde, write_members};

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

/// The senders and recipients of some messages, each written as JSON once: most are named several
/// times.
pub(super) struct People {
    json: Vec<u8>,
    /// Where each is, ascending by id.
    places: Vec<(UserId, Range<usize>)>,
}

impl People {
    pub(super) fn new(people: Vec<users::Person>) -> Self {
        let mut json = Vec::with_capacity(USUAL_PERSON * people.len());
        let mut write = |person: users::Person| {
            let (id, begin) = (person.id, json.len());
            by_serde(&PersonView::from(person), &mut json);
            (id, begin..json.len())
        };
        let places = people.into_iter().map(&mut write).collect();
        Self { json, places }
    }

    /// One of them. Users are never removed from the table, so there is one for each id.
    pub(super) fn get(&self, id: UserId) -> Option<Ready<'_>> {
        let at = self.places.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(Ready(&self.json[self.places[at].1.clone()]))
    }

    /// These of them, in this order.
    pub(super) fn all(&self, ids: &[UserId]) -> Vec<Ready<'_>> {
        ids.iter().filter_map(|id| self.get(*id)).collect()
    }
}

/// What a person mostly fits into.
const USUAL_PERSON: usize = 128;

/// Declares a view of a message, which may have further fields of its own.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident as $schema:ident {
        $($(#[$attribute:meta])* $field:ident: $type:ty = $make:expr;)*
    }) => {
        $(#[$doc])*
        #[derive(ToSchema)]
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
            from: Option<Ready<'a>>,
            /// The recipients; in a list the first five, the caller among them if they are one.
            #[schema(value_type = Vec<PersonView>, min_items = 1)]
            to: Vec<Ready<'a>>,
            #[schema(example = "Re: Hello")]
            subject: &'a str,
            $($(#[$attribute])* pub(super) $field: $type,)*
            #[schema(value_type = String, format = DateTime, example = "2026-11-22T20:16:23Z")]
            sent_at: Time,
            /// When the caller read it; messages that they sent count as read.
            #[schema(value_type = Option<String>, required, format = DateTime)]
            read_at: Option<Time>,
            #[schema(value_type = Option<String>, required, format = DateTime)]
            starred_at: Option<Time>,
            #[schema(value_type = Option<String>, required, format = DateTime)]
            archived_at: Option<Time>,
            #[schema(value_type = Option<String>, required, format = DateTime)]
            trashed_at: Option<Time>,
            /// The sender's own name for the message, which only they see.
            #[schema(required, example = "outbox-17")]
            client_id: Option<&'a str>,
            /// The server key by which the app sent it for its sender, who alone sees this.
            #[schema(value_type = String, required = false, example = "shop")]
            via: IfAny<&'a str>,
        }

        write_members!($name: id conversation_id in_reply_to from to subject $($field)* sent_at
            read_at starred_at archived_at trashed_at client_id via);

        impl<'a> $name<'a> {
            pub(super) fn of(message: &'a Message, people: &'a People) -> Self {
                let Message { entry, envelope } = message;
                $(let $field: fn(&'a Envelope) -> $type = $make;)*
                let received = if entry.received { entry.read_at } else { Some(envelope.sent_at) };
                Self {
                    id: envelope.id.get(),
                    conversation_id: envelope.conversation.get(),
                    in_reply_to: envelope.in_reply_to.map(domain::MessageId::get),
                    from: people.get(envelope.from),
                    to: people.all(&envelope.to),
                    subject: &envelope.subject,
                    $($field: $field(envelope),)*
                    sent_at: envelope.sent_at,
                    read_at: received,
                    starred_at: entry.starred_at,
                    archived_at: entry.archived_at,
                    trashed_at: entry.trashed_at,
                    client_id: envelope.client_id.as_deref().filter(|_| entry.sent),
                    via: IfAny(envelope.via.as_deref().filter(|_| entry.sent)),
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

impl WriteJson for Refused<'_> {
    fn write(&self, json: &mut Vec<u8>) {
        by_serde(self, json);
    }
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
        #[schema(value_type = String, required = false, example = "How are you?")]
        body: IfAny<&'a str> = |_envelope| IfAny(None);
        #[schema(required = false, schema_with = listed_metadata)]
        metadata: IfAny<Option<&'a RawValue>> = |_envelope| IfAny(None);
    }
}

impl<'a> MessageItem<'a> {
    /// The item with what the caller has asked for by `fields`.
    pub(super) fn with(message: &'a Message, people: &'a People, fields: BodyPart) -> Self {
        let envelope = &message.envelope;
        Self {
            body: IfAny((fields == BodyPart::Whole).then_some(&*envelope.body)),
            metadata: IfAny((fields != BodyPart::Snippet).then(|| metadata_of(envelope))),
            ..Self::of(message, people)
        }
    }
}
