//! Lists, a page at a time.

use crate::http::json::Json;
use axum::response::{IntoResponse as _, Response};
use domain::MessageId;
use serde::Serialize;

use super::declare::fields;
use super::field_types::{Cursor, Limit, NumericId};
use super::preconditions::Preconditions;

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

#[derive(Serialize)]
pub(super) struct ListPage<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
    /// On the first page of a list of the mailbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

impl<T: Serialize> ListPage<T> {
    /// `next` is the id of the page's last item if there are more.
    pub(super) fn new(data: Vec<T>, next: Option<i64>) -> Json<Self> {
        Json(Self { data, next_cursor: next.map(Cursor::encode), state: None })
    }

    /// The same where the next page starts at another kind of cursor.
    pub(super) fn up_to(data: Vec<T>, next_cursor: Option<String>) -> Json<Self> {
        Json(Self { data, next_cursor, state: None })
    }

    /// A page of a list of the mailbox. The tag of the first one covers the state and the names.
    pub(super) fn of_mailbox(
        preconditions: &Preconditions,
        data: Vec<T>,
        next: Option<MessageId>,
        (modseq, tag): (Option<i64>, Option<String>),
    ) -> Response {
        let Json(mut page) = Self::new(data, next.map(MessageId::get));
        page.state = modseq.map(|modseq| modseq.to_string());
        match tag {
            Some(tag) => preconditions.answer(&tag, Json(page)),
            None => Json(page).into_response(),
        }
    }
}
