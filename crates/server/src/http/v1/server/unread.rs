//! `/v1/server/unread`: the unread counts of many users, for badges and digests.

use domain::unread::many::{self, UnreadFilter};
use domain::{Time, UserId, UserRef, users};
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

impl From<many::Unread> for UserUnread {
    fn from(unread: many::Unread) -> Self {
        let many::Unread { user, messages, conversations, oldest_at } = unread;
        Self {
            user: user.into(),
            messages,
            conversations,
            oldest_at: oldest_at.map(clock::rfc3339),
        }
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
    caller: ServerCaller<Unread>,
    // Asking changes nothing, so nothing is stored for its key.
    KeyedBody(asked, _request): KeyedBody<UnreadQuery>,
) -> Result<Response, Error> {
    let List(asked) = asked.users;
    let (refs, written): (Vec<UserRef>, Vec<Value>) =
        asked.into_iter().map(|Recipient(of, written)| (of, written)).unzip();
    list_turns::ready(caller.key.id).await;
    let read = app.db.of(caller.key.id).long().read(move |tx| {
        // Ids are looked up with the names: a look of its own would be a fifth of the work.
        let is_id = |of: &&UserRef| matches!(of, UserRef::Id(_));
        let others: Vec<_> = refs.iter().filter(|of| !is_id(of)).cloned().collect();
        let mut others = users::resolve_all(tx, &others)?.into_iter();
        let named = refs.iter().map(|of| match of {
            UserRef::Id(id) => Some(*id),
            UserRef::External(_) | UserRef::Name(_) => others.next().flatten(),
        });
        let named: Vec<_> = named.collect();
        let ids: Vec<_> = named.iter().flatten().copied().collect();
        Ok::<_, domain::Error>((many::counts_of(tx, &ids)?, named))
    });
    let (counts, named) = read.await?;
    list_turns::take(caller.key.id);
    let mut counts: Vec<_> =
        counts.into_iter().map(|unread| (unread.user.id, Some(unread))).collect();
    let mut answer = UnreadOfUsers { data: Vec::with_capacity(counts.len()), not_found: vec![] };
    for (user, written) in named.into_iter().zip(&written) {
        let at = user.and_then(|user| counts.binary_search_by_key(&user, |(id, _)| *id).ok());
        match at {
            // Who is named twice is there once.
            Some(at) => answer.data.extend(counts[at].1.take().map(UserUnread::from)),
            None => answer.not_found.push(written),
        }
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
        /// How many users a page shows at most; more than 1,000 are 1,000.
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
    caller: ServerCaller<Unread>,
    QueryParams(paging): QueryParams<UnreadPaging>,
) -> Result<Json<ListPage<UserUnread>>, Error> {
    let UnreadPaging { min: Least(least), oldest_before, limit: Limit(limit), cursor } = paging;
    let after = cursor.as_ref().and_then(Cursor::id);
    let filter = UnreadFilter { least, oldest_before };
    let read =
        app.db.of(caller.key.id).scan(move |tx| many::page(tx, filter, after, i64::from(limit)));
    let (found, next) = read.await?;
    let shown = found.into_iter().map(UserUnread::from).collect();
    Ok(ListPage::new(shown, next.map(UserId::get)))
}
