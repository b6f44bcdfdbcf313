//! Messages as their readers see them.

use std::borrow::Cow;

use mail::envelopes::Envelope;
use mail::messages::Message;
use mail::{Time, users};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, OneOf, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::users::Person;
use crate::runtime::clock;

/// Everybody whom some messages name.
pub(super) struct People(Vec<(i64, Person)>);

impl People {
    /// From what the domain found, in ascending order.
    pub(super) fn new(people: Vec<users::Person>) -> Self {
        Self(people.into_iter().map(|person| (person.id.get(), person.into())).collect())
    }

    /// One of them. Nobody is ever removed from the users, so there is one for each id.
    pub(super) fn get(&self, id: mail::UserId) -> Option<&Person> {
        let at = self.0.binary_search_by_key(&id.get(), |(id, _)| *id).ok()?;
        self.0.get(at).map(|(_, person)| person)
    }

    /// These of them, in their order.
    pub(super) fn all(&self, ids: &[mail::UserId]) -> Vec<&Person> {
        ids.iter().filter_map(|id| self.get(*id)).collect()
    }
}

/// A message with its text, with a snippet of it, or as it was just sent: they differ in a field.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident as $shown:ident, $make:expr,
     { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Serialize, ToSchema)]
        #[schema(as = $shown)]
        pub(super) struct $name<'a> {
            #[schema(minimum = 1, example = 42)]
            id: i64,
            /// The id of the message that began it.
            #[schema(minimum = 1, example = 40)]
            conversation_id: i64,
            /// The message that it answers.
            #[schema(required, minimum = 1, example = 41)]
            in_reply_to: Option<i64>,
            #[schema(value_type = Person)]
            from: Option<&'a Person>,
            #[schema(value_type = Vec<Person>, min_items = 1)]
            to: Vec<&'a Person>,
            #[schema(example = "Re: Hello")]
            subject: &'a str,
            $($(#[$attribute])* $field: $type,)*
            #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
            sent_at: String,
            /// When the caller read it; what he sent is born read.
            #[schema(required, format = DateTime)]
            read_at: Option<String>,
            #[schema(required, format = DateTime)]
            starred_at: Option<String>,
            #[schema(required, format = DateTime)]
            archived_at: Option<String>,
            #[schema(required, format = DateTime)]
            trashed_at: Option<String>,
            /// The sender's own name for it, which nobody else sees.
            #[schema(required, example = "outbox-17")]
            client_id: Option<&'a str>,
            /// What the app keeps with it.
            #[schema(required, value_type = Option<Object>)]
            metadata: Option<&'a RawValue>,
        }

        impl<'a> $name<'a> {
            /// A message, and those whom it names.
            pub(super) fn of(message: &'a Message, people: &'a People, extra: Extra<'a>) -> Self {
                let Message { entry, envelope } = message;
                let make: fn(&'a Envelope, Extra<'a>) -> ($($type,)*) = $make;
                let ($($field,)*) = make(envelope, extra);
                let received = if entry.received { entry.read_at } else { Some(envelope.sent_at) };
                Self {
                    id: envelope.id.get(),
                    conversation_id: envelope.conversation.get(),
                    in_reply_to: envelope.in_reply_to.map(mail::MessageId::get),
                    from: people.get(envelope.from),
                    to: people.all(&envelope.to),
                    subject: &envelope.subject,
                    $($field,)*
                    sent_at: clock::rfc3339(envelope.sent_at),
                    read_at: time(received),
                    starred_at: time(entry.starred_at),
                    archived_at: time(entry.archived_at),
                    trashed_at: time(entry.trashed_at),
                    client_id: envelope.client_id.as_deref().filter(|_| entry.sent),
                    metadata: envelope
                        .metadata
                        .as_deref()
                        .and_then(|json| serde_json::from_str(json).ok()),
                }
            }
        }
    };
}

/// What is told of a message beside itself: whom it did not reach.
type Extra<'a> = Vec<Refused<'a>>;

/// Somebody whom a message did not reach.
#[derive(Serialize, ToSchema)]
pub(super) struct Refused<'a> {
    /// As the sender named him.
    #[schema(value_type = Recipient)]
    pub(super) to: Cow<'a, serde_json::Value>,
    /// `recipient_unavailable` or `unknown_recipient`.
    #[schema(example = "unknown_recipient")]
    pub(super) code: &'static str,
}

/// Somebody to write to: the id of a user, or a name.
pub(super) struct Recipient;

impl PartialSchema for Recipient {
    fn schema() -> RefOr<Schema> {
        let id = Object::builder()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(mail::LARGEST_ID));
        let longest = mail::text::USERNAME_CHARS;
        let name = Object::builder().schema_type(Type::String).max_length(Some(longest));
        let name = name.format(Some(SchemaFormat::Custom("username".to_owned())));
        let either = OneOf::builder().item(id).item(name);
        either.description(Some("The id of a user, or a name.")).into()
    }
}

impl ToSchema for Recipient {}

message! {
    /// A message with its whole text.
    Whole as Message, |envelope, _extra| (envelope.body.as_str(),), {
        #[schema(example = "How are you?")]
        body: &'a str,
    }
}

message! {
    /// A message that was just sent.
    Sent as SentMessage, |envelope, extra| (envelope.body.as_str(), extra), {
        #[schema(example = "How are you?")]
        body: &'a str,
        /// Whom it did not reach.
        #[schema(value_type = Vec<Refused<'_>>)]
        refused: Extra<'a>,
    }
}

message! {
    /// A message in a list.
    Item as MessageItem, |envelope, _extra| (envelope.body.as_str(),), {
        /// The first 140 characters of the text.
        #[schema(example = "How are")]
        snippet: &'a str,
    }
}

fn time(time: Option<Time>) -> Option<String> {
    time.map(clock::rfc3339)
}
