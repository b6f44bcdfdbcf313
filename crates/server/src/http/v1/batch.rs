//! `/v1/messages/batch`: marks or deletes many messages at once, for example marks a whole folder
//! as read.

use domain::MessageId;
use domain::lists::{self, Filter};
use domain::messages::{self, Action, Marks};
use domain::tokens::Scope;

use super::field_types::{Cursor, List, OnlyTrue};
use super::prelude::*;
use crate::http::error::FieldError;

const MAX_MESSAGES: usize = 1000;

pub(super) fn api(api: Api) -> Api {
    let summary = "Marks or deletes up to 1,000 messages";
    api.on("POST /v1/messages/batch", "batchMessages", summary, batch)
        .answers::<Batch>(
            200,
            "The result for each message; a batch by filter lists none without the scope \
             `messages:read`. Nothing is stored for an Idempotency-Key, as repeating a batch is \
             harmless.",
        )
        .errors(&[Code::MissingScope])
}

fields! {
    /// Which messages (`ids` or `filter`), and what to do to them (`set` or `delete`).
    struct NewBatch {
        change ids: List<MessageId, MAX_MESSAGES> = [42, 43];
        change filter: Filter;
        /// With `filter`: the `next_cursor` of the batch before.
        change cursor: Cursor;
        /// With `filter`: the newest message that the user has seen. No newer one is touched. A
        /// batch by filter with an `Idempotency-Key` needs it.
        change up_to: MessageId;
        change set: Marks;
        /// `true` deletes the messages from the caller's mailbox for good.
        change delete: OnlyTrue;
    }
    rules [
        Rule::OneOf("ids", "filter"),
        Rule::OneOf("set", "delete"),
        Rule::OnlyWith("cursor", "filter"),
        Rule::OnlyWith("up_to", "filter"),
    ]
}

/// The result of a batch.
#[derive(Serialize, ToSchema)]
struct Batch {
    /// The messages that are marked now, even if they were before.
    #[schema(example = json!([42, 43]))]
    updated: Vec<i64>,
    /// The messages that are gone now, even if they were before.
    destroyed: Vec<i64>,
    /// The ids that are not in the caller's mailbox; of a deletion, those that never were.
    not_found: Vec<i64>,
    /// With `filter`: where the next batch starts; null after the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Without a bound, a retry would be about messages that came after the first request.
fn up_to_is_missing() -> FieldError {
    FieldError {
        pointer: Some("#/up_to".to_owned()),
        parameter: None,
        to: None,
        detail: "a batch by filter with an Idempotency-Key needs it: the newest message that the \
                 user has seen"
            .into(),
        code: "missing",
    }
}

async fn batch(
    State(app): State<App>,
    caller: Caller<Write>,
    // Repeating it is harmless, so nothing is stored for its key.
    KeyedBody(new, request): KeyedBody<NewBatch>,
) -> Result<Json<Batch>, Error> {
    let NewBatch { ids, filter, cursor, up_to, set, delete } = new;
    let action = set.map(Action::Mark).or(delete.map(|OnlyTrue| Action::Delete));
    let action = action.expect("a batch has set or delete");
    let (cx, user) = (app.clock.cx(), caller.user);
    let lists_them = filter.is_none() || caller.may_read();
    let (mut ids, next) = match (ids, filter) {
        (Some(List(ids)), _) => (ids, None),
        (None, filter) => {
            let filter = filter.expect("a batch has ids or a filter");
            if up_to.is_none() && request.has_key() {
                return Err(Error::invalid(vec![up_to_is_missing()]));
            }
            if filter.words.is_some() && !caller.may_read() {
                return Err(Error::needs_scope(
                    Code::MissingScope,
                    "a filter by q",
                    Scope::Read.name(),
                ));
            }
            let bounds = [cursor.as_ref().and_then(Cursor::id), up_to.map(MessageId::next)];
            let before = bounds.into_iter().flatten().min();
            // Before the transaction, because it may take long.
            app.db
                .of(user)
                .scan(move |tx| lists::ids(tx, user, &filter, before, MAX_MESSAGES))
                .await?
        }
    };
    ids.sort();
    ids.dedup();
    let step = |ids: &[MessageId]| {
        let ids = ids.to_vec();
        move |tx: &mut Tx<'_>| messages::batch(tx, &cx, user, &ids, action)
    };
    let purpose = if action == Action::Delete { Purpose::Free } else { Purpose::Store };
    let (first, rest) = ids.split_at(ids.len().min(messages::STEP));
    let mut done = caller.write_long_for(&app, purpose, step(first)).await?;
    for ids in rest.chunks(messages::STEP) {
        done.add(caller.long(&app).write_for(purpose, step(ids)).await?);
    }
    // Which messages a filter finds says what is in them.
    let numbers =
        |ids: &[MessageId]| ids.iter().filter(|_| lists_them).map(|id| id.get()).collect();
    Ok(Json(Batch {
        updated: numbers(&done.updated),
        destroyed: numbers(&done.destroyed),
        not_found: numbers(&done.not_found),
        next_cursor: next.map(|next| Cursor::encode(next.get())),
    }))
}
