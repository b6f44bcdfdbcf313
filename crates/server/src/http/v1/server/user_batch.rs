//! `/v1/server/users/batch`: up to 1,000 users at once.

use std::iter::Peekable;
use std::sync::Arc;

use bytes::Bytes;
use domain::server_keys::ServerKey;
use domain::text::Lengths;
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
use crate::http::v1::reader::{
    self, FieldContext, FieldReader, FieldSet, FieldSpec, FieldType, Shared,
};

const MAX_USERS: usize = 1000;
/// Users in one transaction, at most: a crash leaves all of them changed, or none.
const CHUNK: usize = 50;
/// Bytes of their display names, at most: each word of a name is a row. Fifty usual names have
/// less.
const NAME_BYTES: usize = 4 << 10;
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

/// An item of the batch, which may be wrong without the others being so. It is read with those of
/// its transaction: a thousand at once would be long work on a thread that serves others too.
struct Item {
    value: Value,
    lengths: Lengths,
    bytes: Bytes,
}

impl Item {
    /// The `ref` as it was sent.
    fn named(&self) -> Value {
        self.value.get("ref").cloned().unwrap_or_default()
    }

    /// Bytes of the name whose words are stored.
    fn name_bytes(&self) -> usize {
        self.value.get("display_name").and_then(Value::as_str).map_or(0, str::len)
    }

    fn read(self, key: &ServerKey) -> Result<BatchUser, Error> {
        let Value::Object(values) = self.value else {
            return Err(Error::invalid(vec![FieldError::no_object()]));
        };
        let user: BatchUser = reader::read(self.lengths, &self.bytes, values)?;
        user.fields.confirm_scope(key)?;
        Ok(user)
    }
}

impl FieldType for Item {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let Shared { lengths, bytes, .. } = field.shared;
        Some(Self { value, lengths: *lengths, bytes: bytes.clone() })
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
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        list_turns::ready(caller.key.id).await;
        list_turns::take(caller.key.id);
        results.extend(put_chunk(&app, &caller, next_chunk(&mut items)).await?);
    }
    Ok(Json(BatchUsers { results }))
}

/// The next items of one transaction.
fn next_chunk(items: &mut Peekable<impl Iterator<Item = Item>>) -> Vec<Item> {
    let (mut chunk, mut bytes) = (Vec::with_capacity(CHUNK), 0);
    while chunk.len() < CHUNK
        && let Some(item) =
            items.next_if(|item| chunk.is_empty() || bytes + item.name_bytes() <= NAME_BYTES)
    {
        bytes += item.name_bytes();
        chunk.push(item);
    }
    chunk
}

/// Creates and changes users in one transaction.
async fn put_chunk(
    app: &App,
    caller: &ServerCaller<Users>,
    items: Vec<Item>,
) -> Result<Vec<BatchResult>, Error> {
    let (mut puts, mut results) = (Vec::new(), Vec::new());
    for item in items {
        let mut result = BatchResult {
            named: item.named(),
            status: "failed",
            user: None,
            changed: vec![],
            errors: vec![],
        };
        match item.read(&caller.key) {
            Ok(BatchUser { user, fields }) => {
                let (change, changed) = fields.split();
                result.changed = changed;
                puts.push(Put { user, change });
            }
            Err(error) => result.errors = error.into_fields("ref"),
        }
        results.push(result);
    }
    let mut done = write(app, &caller.call, Arc::new(puts)).await?.into_iter();
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
        let done = app.db.of(call.key.id).wide().write(move |tx| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_has_fifty_users_or_as_many_names_as_are_little_work() {
        for (length, chunks) in [(20, &[50; 5][..]), (2000, &[2; 125]), (9000, &[1; 250])] {
            let item = || Item {
                value: serde_json::json!({ "display_name": "x".repeat(length) }),
                lengths: Lengths { subject_chars: 1, body_bytes: 1 },
                bytes: Bytes::new(),
            };
            let mut items = std::iter::repeat_with(item).take(250).peekable();
            let cut = std::iter::from_fn(|| Some(next_chunk(&mut items).len()));
            assert_eq!(cut.take_while(|length| *length > 0).collect::<Vec<_>>(), chunks);
        }
    }
}
