//! `/v1/changes` and `/v1/unread`: what is new, for those who know what was.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mail::changes::{self, Kind};
use mail::mailbox;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::fields::Place;
use super::input::Asked;
use super::operation::{Api, Operation, Tag};
use super::tags::Known;
use crate::http::App;
use crate::http::Error;
use crate::http::auth::{Caller, Read};
use crate::http::code::Code;

/// The calls of those who keep a copy of a mailbox.
pub(super) fn api(api: Api) -> Api {
    let summary = "Tells what changed in the mailbox since a state";
    let changes = Operation::get("/v1/changes", "listChanges", Tag::Sync, summary)
        .scope::<Read>()
        .query("since", "The state that the caller has.", &state_schema(), "17")
        .required()
        .query("limit", "How many changes; more than 100 are 100.", &limit_schema(), 20)
        .answers::<Changes>(200, "Each message is in one list at most.")
        .errors(&[Code::CannotCalculateChanges]);
    let summary = "Counts what is unread in the inbox";
    let unread = Operation::get("/v1/unread", "getUnread", Tag::Sync, summary)
        .scope::<Read>()
        .answers::<Unread>(200, "The counts.")
        .header("ETag", "The state of the mailbox.")
        .unchanged();
    api.add(changes, list).add(unread, self::unread)
}

/// The schema of a state that the caller names.
pub(super) fn state_schema() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]{1,18}$" })
}

fn limit_schema() -> Value {
    json!({ "type": "integer", "minimum": 1, "default": super::page::USUAL })
}

/// A state, as lists and counts tell it: a number in digits.
pub(super) fn state(value: Value, place: &mut Place<'_>) -> Option<i64> {
    let Value::String(text) = value else {
        return place.refuse("wrong_type", "it must be text");
    };
    parse_state(&text).or_else(|| place.refuse("invalid", "it must be a state, as lists have it"))
}

/// A state in digits.
pub(super) fn parse_state(text: &str) -> Option<i64> {
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// What changed in a mailbox.
#[derive(Default, Serialize, ToSchema)]
struct Changes {
    /// The state that the caller had.
    #[schema(example = "17")]
    old_state: String,
    /// The state that he has now.
    #[schema(example = "21")]
    new_state: String,
    /// Whether to ask again, from the new state.
    has_more: bool,
    /// The ids of messages that came, in the order in which they did.
    #[schema(example = json!([42]))]
    created: Vec<i64>,
    /// Of those that are other ones now.
    #[schema(example = json!([40]))]
    updated: Vec<i64>,
    /// Of those that are gone.
    #[schema(example = json!([]))]
    destroyed: Vec<i64>,
}

async fn list(
    State(app): State<App>,
    caller: Caller<Read>,
    asked: Asked,
) -> Result<Response, Error> {
    let (since, limit) = asked.read(|fields| {
        let (since, limit) = (fields.required("since", state), fields.limit());
        Some((since?, limit?))
    })?;
    let (user, limit) = (caller.user, usize::try_from(limit).unwrap_or_default());
    let found = app.db.read(move |tx| changes::since(tx, user, since, limit)).await?;
    let mut changes = Changes {
        old_state: since.to_string(),
        new_state: found.until.to_string(),
        has_more: found.has_more(),
        ..Changes::default()
    };
    for change in &found.changes {
        let ids = match change.kind() {
            Kind::Created => &mut changes.created,
            Kind::Updated => &mut changes.updated,
            Kind::Destroyed => &mut changes.destroyed,
        };
        ids.push(change.message.get());
    }
    Ok(Json(changes).into_response())
}

/// How much of the inbox is unread.
#[derive(Serialize, ToSchema)]
pub(super) struct Unread {
    /// Messages: as many as the list of the inbox has with `unread=true`.
    #[schema(minimum = 0, example = 3)]
    messages: i64,
    /// Conversations with such a message.
    #[schema(minimum = 0, example = 2)]
    conversations: i64,
    /// The state of the mailbox.
    #[schema(example = "17")]
    state: String,
}

impl From<mailbox::Unread> for Unread {
    fn from(counts: mailbox::Unread) -> Self {
        let mailbox::Unread { messages, conversations, state } = counts;
        Self { messages, conversations, state: state.to_string() }
    }
}

async fn unread(
    State(app): State<App>,
    caller: Caller<Read>,
    known: Known,
) -> Result<Response, Error> {
    let counts = app.db.read(move |tx| mailbox::unread_counts(tx, caller.user)).await?;
    let tag = counts.state.to_string();
    Ok(known.answer(&tag, || Json(Unread::from(counts)).into_response()))
}
