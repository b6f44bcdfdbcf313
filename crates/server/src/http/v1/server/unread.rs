//! `/v1/server/unread`: the unread counts of many users, for badges and digests.

use std::collections::HashMap;

use domain::unread::many::{self, UnreadFilter};
use domain::{Time, UserRef, users};
use serde_json::{Value, json};

use crate::http::server_key::Unread;
use crate::http::v1::document::Schemas;
use crate::http::v1::field_types::{Cursor, Limit, List, Recipient};
use crate::http::v1::prelude::*;
use crate::http::v1::reader::{FieldContext, FieldType};
use crate::http::v1::view::recipient;

const MAX_USERS: usize = 1000;

pub(super) fn api(api: Api) -> Api {
    let count = "Counts the unread messages of up to 1,000 users";
    let list_summary = "Lists everybody who has unread messages";
    api.on("POST /v1/server/unread", "countUnreadOfUsers", count, of_users)
        .answers::<UnreadOfUsers<'_>>(
            200,
            "The counts, in the order of the request. Nothing is stored for an Idempotency-Key, as \
             asking changes nothing; nor does it count as activity of the users.",
        )
        .on("GET /v1/server/unread", "listUsersWithUnread", list_summary, list)
        .answers_page::<UserUnread>(
            "A page, ascending by user, without the deactivated. It may have fewer items than the \
             limit even if there are more.",
        )
}

fields! {
    /// Whose unread messages to count.
    struct UnreadQuery {
        required users: List<Recipient, MAX_USERS> = [7, "ext:42"];
    }
}

/// What a user has not read.
#[derive(Serialize, ToSchema)]
struct UserUnread {
    user: PersonView,
    /// Unread messages in the inbox.
    #[schema(minimum = 0, example = 3)]
    messages: i64,
    /// Conversations with such a message.
    #[schema(minimum = 0, example = 2)]
    conversations: i64,
    /// When the oldest of them was sent.
    #[schema(required, format = DateTime, example = "2026-11-22T20:16:23Z")]
    oldest_at: Option<String>,
}

impl UserUnread {
    fn of(user: PersonView, unread: &many::Unread) -> Self {
        let many::Unread { messages, conversations, oldest_at, .. } = *unread;
        Self { user, messages, conversations, oldest_at: oldest_at.map(clock::rfc3339) }
    }
}

/// The unread counts of some users.
#[derive(Serialize, ToSchema)]
struct UnreadOfUsers<'a> {
    data: Vec<UserUnread>,
    /// The refs, as they were written, of users whom there are not.
    #[schema(schema_with = recipients)]
    not_found: Vec<&'a Value>,
}

fn recipients() -> utoipa::openapi::Schema {
    let items = json!({ "type": "array", "items": recipient() });
    serde_json::from_value(items).expect("it is a schema")
}

async fn of_users(
    State(app): State<App>,
    _caller: ServerCaller<Unread>,
    // Asking changes nothing, so nothing is stored for its key.
    KeyedBody(asked, _request): KeyedBody<UnreadQuery>,
) -> Result<Response, Error> {
    let List(asked) = asked.users;
    let (refs, written): (Vec<UserRef>, Vec<Value>) =
        asked.into_iter().map(|Recipient(of, written)| (of, written)).unzip();
    let read = app.db.scan(move |tx| {
        // Ids are looked up with the names: a look of its own would be a fifth of the work.
        let is_id = |of: &&UserRef| matches!(of, UserRef::Id(_));
        let others: Vec<_> = refs.iter().filter(|of| !is_id(of)).cloned().collect();
        let mut others = users::resolve_all(tx, &others)?.into_iter();
        let named = refs.iter().map(|of| match of {
            UserRef::Id(id) => Some(*id),
            UserRef::External(_) | UserRef::Name(_) => others.next().flatten(),
        });
        let named: Vec<_> = named.collect();
        let mut ids: Vec<_> = named.iter().flatten().copied().collect();
        ids.sort();
        ids.dedup();
        let counts = many::counts_of(tx, &ids)?;
        Ok::<_, domain::Error>((named, counts, users::people(tx, &ids)?))
    });
    let (named, counts, people) = read.await?;
    let counts = counts.into_iter().map(|unread| (unread.user, unread));
    let mut counts: HashMap<_, _> = counts.collect();
    let people = people.into_iter().filter(|person| person.username != users::ERASED);
    let mut people: HashMap<_, _> = people.map(|person| (person.id, Some(person))).collect();
    let mut answer = UnreadOfUsers { data: Vec::with_capacity(counts.len()), not_found: vec![] };
    for (user, written) in named.into_iter().zip(&written) {
        let Some(person) = user.and_then(|user| people.get_mut(&user)) else {
            answer.not_found.push(written);
            continue;
        };
        // Who is named twice is there once.
        let shown = person.take().and_then(|person| Some((counts.remove(&person.id)?, person)));
        answer.data.extend(shown.map(|(unread, person)| UserUnread::of(person.into(), &unread)));
    }
    Ok(Json(answer).into_response())
}

fields! {
    /// Which users with unread messages.
    struct UnreadPaging {
        /// The least number of unread messages.
        or_default min: Least = 1;
        /// Only users whose oldest unread message was sent before.
        optional oldest_before: Time = "2026-11-21T00:00:00Z";
        /// How many users a page looks at; more than 1,000 are 1,000.
        or_default limit: Limit<1000, 1000> = 1000;
        /// The `next_cursor` of the page before, with all other parameters unchanged.
        optional cursor: Cursor = "AAAAAAAAAAc";
    }
}

/// The least number of unread messages.
struct Least(i64);

impl Default for Least {
    fn default() -> Self {
        Self(1)
    }
}

impl FieldType for Least {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let least = value.as_str().and_then(|text| text.parse().ok());
        let least = least.filter(|least| (1..=domain::LARGEST_ID).contains(least)).map(Self);
        least.or_else(|| field.refuse("invalid", "it must be a whole number from 1"))
    }

    fn schema(_schemas: &mut Schemas) -> Value {
        json!({ "type": "integer", "minimum": 1, "default": 1 })
    }
}

async fn list(
    State(app): State<App>,
    _caller: ServerCaller<Unread>,
    QueryParams(paging): QueryParams<UnreadPaging>,
) -> Result<Json<ListPage<UserUnread>>, Error> {
    let UnreadPaging { min: Least(least), oldest_before, limit: Limit(limit), cursor } = paging;
    let after = cursor.as_ref().and_then(Cursor::id);
    let filter = UnreadFilter { least, oldest_before };
    let read = app.db.scan(move |tx| {
        let (found, next) = many::page(tx, filter, after, i64::from(limit))?;
        let ids: Vec<_> = found.iter().map(|unread| unread.user).collect();
        Ok::<_, domain::Error>((found, next, users::people(tx, &ids)?))
    });
    let (found, next, people) = read.await?;
    // Both ascend, and users are never removed from the table, so there is one for each mailbox.
    let shown = found.iter().zip(people);
    let shown = shown.map(|(unread, person)| UserUnread::of(person.into(), unread)).collect();
    Ok(ListPage::new(shown, next.map(UserId::get)))
}
