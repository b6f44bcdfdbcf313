//! `/v1/server/users/batch`: up to 1,000 users at once.

use std::sync::Arc;

use domain::users::{self, Put, PutStatus};
use domain::{UserRef, audit};
use serde_json::Value;

use super::user_fields::UserFields;
use crate::http::error::FieldError;
use crate::http::server_key::Users;
use crate::http::v1::declare::body_schema;
use crate::http::v1::document::Schemas;
use crate::http::v1::field_types::List;
use crate::http::v1::prelude::*;
use crate::http::v1::reader::{self, FieldContext, FieldReader, FieldSet, FieldSpec, FieldType};

const MAX_USERS: usize = 1000;
/// Users in one transaction: a crash leaves all of them changed, or none.
const CHUNK: usize = 100;
/// How often a chunk is tried again because somebody took a username in between.
const ATTEMPTS: usize = 5;

pub(super) fn api(api: Api) -> Api {
    let summary = "Creates or changes up to 1,000 users";
    api.on("POST /v1/server/users/batch", "batchUsers", summary, batch).answers::<BatchUsers>(
        200,
        "The result for each user, in order. Nothing is stored for an Idempotency-Key, as \
             repeating a batch is harmless.",
    )
}

fields! {
    /// Users, each with a `ref` and the fields of a PUT.
    struct UserBatch {
        /// One who cannot be created or changed fails alone.
        required users: List<Item, MAX_USERS>;
    }
}

struct Named {
    user: UserRef,
}

fields! {
    for Named as "" {
        /// An external id that is nobody's creates a user.
        required user ("ref"): UserRef = "ext:42";
    }
}

/// A user of a batch.
struct BatchUser {
    user: UserRef,
    fields: UserFields,
}

impl FieldSet for BatchUser {
    const NAME: &'static str = "BatchUser";
    const ABOUT: &'static [&'static str] = &["A user, and what the app says of them."];

    fn read(reader: &mut FieldReader<'_>) -> Option<Self> {
        let (Named { user }, fields) = <(Named, UserFields) as FieldSet>::read(reader)?;
        Some(Self { user, fields })
    }

    fn specs() -> Vec<&'static FieldSpec> {
        <(Named, UserFields)>::specs()
    }
}

/// An item of the batch, which may be wrong without the others being so.
struct Item {
    /// The `ref` as it was sent.
    named: Value,
    read: Result<BatchUser, Error>,
}

impl FieldType for Item {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let named = value.get("ref").cloned().unwrap_or_default();
        let Value::Object(values) = value else {
            let read = Err(Error::invalid(vec![FieldError::no_object()]));
            return Some(Self { named, read });
        };
        let shared = &field.shared;
        let read = reader::read(shared.lengths, &shared.bytes, values);
        Some(Self { named, read })
    }

    fn schema(schemas: &mut Schemas) -> Value {
        body_schema::<BatchUser>(schemas)
    }
}

/// The result of a batch.
#[derive(Serialize, ToSchema)]
struct BatchUsers {
    results: Vec<BatchResult>,
}

/// What became of a user of a batch.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchUserResult)]
struct BatchResult {
    /// As it was sent.
    #[serde(rename = "ref")]
    #[schema(value_type = Value, example = "ext:42")]
    named: Value,
    /// `created`, `updated`, `unchanged`, `stale` or `failed`.
    #[schema(example = "created")]
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<PersonView>,
    /// The fields that are kept in another form than the app sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, example = json!(["display_name"]))]
    changed: Vec<&'static str>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
}

async fn batch(
    caller: ServerCaller<Users>,
    State(app): State<App>,
    // Repeating it is harmless, so nothing is stored for its key.
    KeyedBody(UserBatch { users: List(items) }, _request): KeyedBody<UserBatch>,
) -> Result<Json<BatchUsers>, Error> {
    let mut results = Vec::with_capacity(items.len());
    let mut items = items.into_iter();
    loop {
        let confirmed = items.by_ref().take(CHUNK).map(|Item { named, read }| {
            let may = |user: BatchUser| user.fields.confirm_scope(&caller.key).map(|()| user);
            Item { named, read: read.and_then(may) }
        });
        let chunk: Vec<_> = confirmed.collect();
        if chunk.is_empty() {
            return Ok(Json(BatchUsers { results }));
        }
        results.extend(put_chunk(&app, &caller.call, chunk).await?);
    }
}

/// Creates and changes users in one transaction.
async fn put_chunk(
    app: &App,
    call: &Arc<audit::Call>,
    items: Vec<Item>,
) -> Result<Vec<BatchResult>, Error> {
    let (mut puts, mut results) = (Vec::new(), Vec::new());
    for Item { named, read } in items {
        let mut result =
            BatchResult { named, status: "failed", user: None, changed: vec![], errors: vec![] };
        match read {
            Ok(BatchUser { user, fields }) => {
                let (change, changed) = fields.split();
                result.changed = changed;
                puts.push(Put { user, change });
            }
            Err(error) => result.errors = error.into_fields("ref"),
        }
        results.push(result);
    }
    let mut done = write(app, call, Arc::new(puts)).await?.into_iter();
    for result in results.iter_mut().filter(|result| result.errors.is_empty()) {
        match done.next().expect("there is one for each put") {
            Ok((user, status)) => {
                result.status = name(status);
                result.user = Some(user.person.into());
            }
            Err(error) => {
                result.changed.clear();
                result.errors = Error::from(error).into_fields("ref");
            }
        }
    }
    Ok(results)
}

type Done = Vec<domain::Result<(users::AppUser, PutStatus)>>;

async fn write(app: &App, call: &Arc<audit::Call>, puts: Arc<Vec<Put>>) -> Result<Done, Error> {
    let cx = app.clock.cx();
    let mut attempts = 0;
    loop {
        let (puts, call) = (Arc::clone(&puts), Arc::clone(call));
        let done = app.db.of(call.key.id).write(move |tx| {
            let done = users::put_all(tx, &cx, &puts)?;
            let changed = done
                .iter()
                .flatten()
                .filter(|(_, status)| matches!(status, PutStatus::Created | PutStatus::Updated));
            let changed: Vec<_> = changed.map(|(user, _)| user.person.id).collect();
            audit::record_all(tx, &cx, &call, &changed)?;
            Ok(done)
        });
        attempts += 1;
        match done.await {
            Err(error) if users::can_repeat(&error) && attempts < ATTEMPTS => {}
            done => return Ok(done?),
        }
    }
}

fn name(status: PutStatus) -> &'static str {
    match status {
        PutStatus::Created => "created",
        PutStatus::Updated => "updated",
        PutStatus::Unchanged => "unchanged",
        PutStatus::Stale => "stale",
    }
}
