//! What a list of messages is asked for, in a query string or in the body of a batch.

use mail::pages::{Filter, Shelf};
use mail::search::Query;
use mail::{ConversationId, Invalid, UserId};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use super::fields::{Fields, flag, id, text, time};
use super::operation::{self, Operation};

/// What a batch is done to; each condition that is given has to hold.
#[derive(ToSchema)]
#[schema(as = Filter)]
#[expect(dead_code, reason = "the domain has the same as a type of its own; this is its schema")]
pub(super) struct Shown {
    #[schema(schema_with = shelf_schema, required = false)]
    r#box: Option<String>,
    unread: Option<bool>,
    starred: Option<bool>,
    /// The id of somebody who wrote it or got it, beside the caller.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    with: Option<i64>,
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    conversation: Option<i64>,
    /// Sent at this moment or later.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Sent before this moment.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Words, "phrases" and prefix*, all of which it has.
    #[schema(example = "quick \"brown fox\" jump*")]
    q: Option<String>,
}

/// Reads the conditions.
pub(super) fn read(fields: &mut Fields) -> Option<Filter> {
    let shelf = fields.optional("box", text(shelf));
    let unread = fields.optional("unread", flag);
    let starred = fields.optional("starred", flag);
    let with = fields.optional("with", id::<UserId>);
    let conversation = fields.optional("conversation", id::<ConversationId>);
    let since = fields.optional("since", time);
    let until = fields.optional("until", time);
    let words = fields.optional("q", text(|text| Ok(Query::parse(text))));
    Some(Filter {
        shelf: shelf?.unwrap_or_default(),
        unread: unread?,
        starred: starred?,
        with: with?,
        conversation: conversation?,
        since: since?,
        until: until?,
        words: words?,
    })
}

const SHELVES: [&str; 5] = ["inbox", "sent", "archive", "trash", "all"];

fn shelf_schema() -> Object {
    let kinds = SchemaType::from_iter([Type::String, Type::Null]);
    let names = SHELVES.into_iter().map(Some).chain([None]);
    let text = "Which part of the mailbox; `all` is all but the trash.";
    let shelf = ObjectBuilder::new().schema_type(kinds).description(Some(text));
    shelf.enum_values(Some(names)).default(Some("inbox".into())).build()
}

fn shelf(name: &str) -> Result<Shelf, Invalid> {
    Ok(match name {
        "inbox" => Shelf::Inbox,
        "sent" => Shelf::Sent,
        "archive" => Shelf::Archive,
        "trash" => Shelf::Trash,
        "all" => Shelf::All,
        _ => {
            return Err(Invalid::new("box", "it must be inbox, sent, archive, trash or all"));
        }
    })
}

/// The same conditions as parameters of a query string.
pub(super) fn parameters(operation: Operation) -> Operation {
    let boxes = json!({ "type": "string", "enum": SHELVES, "default": "inbox" });
    let flag = json!({ "type": "boolean" });
    let id = operation::id();
    let time = json!({ "type": "string", "format": "date-time" });
    let moment = "2026-11-22T20:16:23Z";
    operation
        .query("box", "Which part of the mailbox; `all` is all but the trash.", &boxes, "inbox")
        .query("unread", "Only what is unread, or only what is not.", &flag, true)
        .query("starred", "Only what has a star, or only what has none.", &flag, true)
        .query("with", "Only what this user wrote or got, beside the caller.", &id, 7)
        .query("conversation", "Only what belongs to this conversation.", &id, 40)
        .query("since", "Only what was sent at this moment or later.", &time, moment)
        .query("until", "Only what was sent before this moment.", &time, moment)
        .query(
            "q",
            "Only what has all these words, \"phrases\" and prefix*.",
            &json!({ "type": "string" }),
            "quick \"brown fox\" jump*",
        )
}
