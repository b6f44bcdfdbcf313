//! Lists, a page at a time.

use axum::response::{IntoResponse, Response};
use domain::MessageId;
use domain::envelopes::BodyPart;
use domain::messages::PAGE_BYTES;
use serde::Serialize;
use serde_json::{Value, json};

use super::declare::fields;
use super::document::Schemas;
use super::field_types::{Cursor, Limit, NumericId};
use super::preconditions::Preconditions;
use super::reader::{FieldContext, FieldType};
use crate::http::json::{Json, WriteJson, Written};

fields! {
    pub(super) struct Paging {
        /// How many items a page may have; more than 100 are 100.
        or_default limit: Limit = 20;
        /// The `next_cursor` of the page before, with all other parameters unchanged.
        optional cursor: Cursor = "AAAAAAAAAAc";
    }
}

impl Paging {
    /// The item after which the page starts.
    pub(super) fn before<T: NumericId>(&self) -> Option<T> {
        self.cursor.as_ref().and_then(Cursor::id)
    }
}

fields! {
    pub(super) struct WithMetadata {
        /// `metadata`: each message has its metadata.
        or_default fields: Fields<false> = "metadata";
    }
}

fields! {
    pub(super) struct WithFields {
        /// What each message has besides: `metadata`, or `full`: the whole text, all recipients and
        /// the metadata. A page has up to 1 MB, and at least one message.
        or_default fields: Fields<true> = "metadata";
    }
}

/// What a list says of each message; whole messages only if `FULL`.
#[derive(Default)]
pub(super) struct Fields<const FULL: bool>(pub(super) BodyPart);

impl<const FULL: bool> FieldType for Fields<FULL> {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        match value.as_str() {
            Some("metadata") => Some(Self(BodyPart::SnippetAndMetadata)),
            Some("full") if FULL => Some(Self(BodyPart::Whole)),
            _ if FULL => field.refuse("invalid", "it must be metadata or full"),
            _ => field.refuse("invalid", "it must be metadata"),
        }
    }

    fn schema(_schemas: &mut Schemas) -> Value {
        let names: &[_] = if FULL { &["metadata", "full"] } else { &["metadata"] };
        json!({ "type": "string", "enum": names })
    }
}

/// Whether a page of so many items may be so long that it is read as a scan, of which one user has
/// one at a time: one of whole messages has up to a megabyte, and one with metadata half of it.
pub(super) fn may_be_long(part: BodyPart, limit: usize) -> bool {
    match part {
        BodyPart::Whole => true,
        BodyPart::SnippetAndMetadata => limit > 50,
        BodyPart::Snippet => false,
    }
}

#[derive(Serialize)]
pub(super) struct ListPage<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

impl<T: Serialize> ListPage<T> {
    /// `next` is the id of the page's last item if there are more.
    pub(super) fn new(data: Vec<T>, next: Option<i64>) -> Json<Self> {
        Self::up_to(data, next.map(Cursor::encode))
    }

    /// The same where the next page starts at another kind of cursor.
    pub(super) fn up_to(data: Vec<T>, next_cursor: Option<String>) -> Json<Self> {
        Json(Self { data, next_cursor })
    }
}

/// What most items fit into, and what follows them.
const USUAL_ITEM: usize = 512;
const REST: usize = 100;

/// A page of a list of the mailbox: each item with the message by which the list is sorted. What
/// does not fit into [`PAGE_BYTES`] is on the next page.
pub(super) struct MailboxPage<D> {
    data: D,
    next: Option<MessageId>,
    /// The state, on the first page.
    modseq: Option<i64>,
}

impl<T: WriteJson, D: Iterator<Item = (MessageId, T)>> MailboxPage<D> {
    /// The tag of the first page covers the state and the names.
    pub(super) fn answer(
        preconditions: &Preconditions,
        data: D,
        next: Option<MessageId>,
        (modseq, tag): (Option<i64>, Option<String>),
    ) -> Response {
        let shown = Self { data, next, modseq };
        match tag {
            Some(tag) => preconditions.answer(&tag, shown),
            None => shown.into_response(),
        }
    }
}

impl<T: WriteJson, D: Iterator<Item = (MessageId, T)>> IntoResponse for MailboxPage<D> {
    fn into_response(self) -> Response {
        let items = self.data.size_hint().1.unwrap_or_default();
        let mut json = Written(Vec::with_capacity(USUAL_ITEM * (items + 1)));
        json.0.extend(b"{\"data\":[");
        let (mut next, mut last) = (self.next, None);
        for (id, item) in self.data {
            let end = json.0.len();
            if last.is_some() {
                json.0.push(b',');
            }
            item.write(&mut json.0);
            if last.is_some() && json.0.len() > PAGE_BYTES - REST {
                json.0.truncate(end);
                next = last;
                break;
            }
            last = Some(id);
        }
        let next_cursor = next.map(|next| Cursor::encode(next.get()));
        let rest = Rest { next_cursor, state: self.modseq.map(|modseq| modseq.to_string()) };
        json.0.push(b']');
        let comma = json.0.len();
        json.add(&rest);
        json.0[comma] = b',';
        json.into_response()
    }
}

/// What follows the items, in place of its `{` a comma.
#[derive(Serialize)]
struct Rest {
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}
