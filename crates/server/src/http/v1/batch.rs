//! `/v1/messages/batch`: many messages at once.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use mail::messages::{self, Action};
use mail::pages::{self, Filter};
use mail::{MessageId, UserId};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, Type};

use super::fields::{Fields, flag, id, list as list_of, object};
use super::filter;
use super::idempotency::{Keyed, Reply};
use super::input::Input;
use super::messages::{Marked, marks};
use super::operation::{Api, Operation, Tag};
use super::page;
use crate::http::App;
use crate::http::Error;
use crate::http::auth::{Caller, Write};

/// Messages of a batch, at most.
const MOST: usize = 1000;

/// The call.
pub(super) fn api(api: Api) -> Api {
    let summary = "Marks or deletes up to 1,000 messages";
    let batch = Operation::post("/v1/messages/batch", "batchMessages", Tag::Messages, summary)
        .scope::<Write>()
        .body::<NewBatch>()
        .rule(json!({
            "allOf": [
                { "oneOf": [{ "required": ["ids"] }, { "required": ["filter"] }] },
                { "oneOf": [{ "required": ["set"] }, { "required": ["delete"] }] },
            ],
            "dependentRequired": { "cursor": ["filter"] },
        }))
        .answers::<Batch>(200, "What became of each.");
    api.add(batch, self::batch)
}

/// What is done to which messages: `ids` or a `filter`, `set` or `delete`.
#[derive(ToSchema)]
#[schema(as = NewBatch)]
#[expect(dead_code, reason = "it is read field by field; this is its schema")]
struct NewBatch {
    #[schema(schema_with = ids_schema, required = false)]
    ids: Option<Vec<i64>>,
    #[schema(nullable = false)]
    filter: Option<filter::Shown>,
    /// With a filter: the `next_cursor` of the batch before.
    #[schema(format = "cursor")]
    cursor: Option<String>,
    #[schema(nullable = false)]
    set: Option<Marked>,
    /// `true` deletes them from the caller's mailbox for good.
    #[schema(schema_with = only_true, required = false)]
    delete: Option<bool>,
}

fn only_true() -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true])).build()
}

fn ids_schema() -> Array {
    let id = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(mail::LARGEST_ID));
    let ids = ArrayBuilder::new().items(id).min_items(Some(1)).max_items(Some(MOST));
    ids.examples([json!([42, 43])]).build()
}

/// Which messages.
enum Which {
    Ids(Vec<MessageId>),
    Those(Box<Filter>, Option<MessageId>),
}

fn read(fields: &mut Fields) -> Option<(Which, Action)> {
    if fields.has("ids") && fields.has("filter") {
        fields.refuse::<()>("filter", "there must be either ids or a filter");
    }
    let which = match (fields.has("ids"), fields.has("filter")) {
        (true, _) => fields.required("ids", list_of(1..=MOST, id::<MessageId>)).map(Which::Ids),
        (false, true) => {
            let filter = fields.required("filter", object(filter::read));
            filter
                .zip(fields.cursor())
                .map(|(filter, before)| Which::Those(Box::new(filter), before))
        }
        (false, false) => fields.missing("ids"),
    };
    if fields.has("set") && fields.has("delete") {
        fields.refuse::<()>("delete", "there must be either set or delete");
    }
    let action = match (fields.has("set"), fields.has("delete")) {
        (true, _) => fields.required("set", object(marks)).map(Action::Mark),
        (false, true) => match fields.required("delete", flag) {
            Some(false) => fields.refuse("delete", "it must be true"),
            delete => delete.map(|_true| Action::Destroy),
        },
        (false, false) => fields.missing("set"),
    };
    Some((which?, action?))
}

/// What became of the messages of a batch.
#[derive(Serialize, ToSchema)]
struct Batch {
    /// Those that are marked now, whether they were before or not.
    #[schema(example = json!([42, 43]))]
    updated: Vec<i64>,
    destroyed: Vec<i64>,
    /// Those that are not in the caller's mailbox.
    not_found: Vec<i64>,
    /// With a filter: where the next batch begins; null after the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

async fn batch(
    State(app): State<App>,
    caller: Caller<Write>,
    keyed: Keyed,
    mut input: Input,
) -> Result<Response, Error> {
    let (which, action) = input.read(read)?;
    let user = caller.user;
    let (mut ids, next) = match which {
        Which::Ids(ids) => (ids, None),
        Which::Those(filter, before) => select(&app, user, *filter, before).await?,
    };
    ids.sort();
    ids.dedup();
    let next_cursor = next.map(|next| page::cursor([next.get()]));
    let batch = move |tx: &mut db::Tx<'_>, cx: &mail::Cx| {
        let done = messages::batch(tx, cx, user, &ids, action)?;
        let numbers = |ids: &[MessageId]| ids.iter().map(|id| id.get()).collect();
        let batch = Batch {
            updated: numbers(&done.updated),
            destroyed: numbers(&done.destroyed),
            not_found: numbers(&done.not_found),
            next_cursor: next_cursor.clone(),
        };
        Ok(Reply::json(StatusCode::OK, &batch))
    };
    keyed.run(&app, Some(user), input.bytes(), batch).await
}

/// The messages of a filter, chosen before the transaction: it may take long.
async fn select(
    app: &App,
    user: UserId,
    filter: Filter,
    before: Option<MessageId>,
) -> Result<(Vec<MessageId>, Option<MessageId>), Error> {
    let page = app.db.scan(move |tx| pages::list(tx, user, &filter, before, MOST)).await?;
    Ok((page.items.iter().map(|item| item.entry.message).collect(), page.next))
}
