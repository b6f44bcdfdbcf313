//! `/v1/changes` and `/v1/unread`: for clients that keep a copy of a mailbox.

use domain::changes::{self, ChangeKind};
use domain::unread;

use super::field_types::{Limit, State as MailboxState};
use super::prelude::*;

pub(super) fn api(api: Api) -> Api {
    let summary = "Lists the changes of the mailbox since a state";
    api.tag("Sync", "Changes, events and unread counts.")
        .on("GET /v1/changes", "listChanges", summary, list)
        .answers::<Changes>(200, "The changes. Each message is in at most one list.")
        .errors(&[Code::CannotCalculateChanges])
        .on("GET /v1/unread", "getUnread", "Counts the unread messages in the inbox", unread)
        .answers::<Unread>(200, "The counts.")
        .header("ETag", "The state of the mailbox.")
}

fields! {
    struct ChangesSince {
        /// The state that the caller has.
        required since: MailboxState = "17";
        /// How many changes at most; more than 100 are 100.
        or_default limit: Limit = 20;
    }
}

/// The changes of a mailbox.
#[derive(Default, Serialize, ToSchema)]
struct Changes {
    /// The state that the caller had.
    #[schema(example = "17")]
    old_state: String,
    /// The state of the mailbox after these changes.
    #[schema(example = "21")]
    new_state: String,
    /// Whether there are more changes after `new_state`.
    has_more: bool,
    /// The ids of new messages, the oldest change first.
    #[schema(example = json!([42]))]
    created: Vec<i64>,
    /// The ids of messages that changed.
    #[schema(example = json!([40]))]
    updated: Vec<i64>,
    /// The ids of messages that are gone.
    #[schema(example = json!([]))]
    destroyed: Vec<i64>,
}

async fn list(
    State(app): State<App>,
    caller: Caller<Look>,
    QueryParams(ChangesSince { since, limit }): QueryParams<ChangesSince>,
) -> Result<Json<Changes>, Error> {
    let (user, since, limit) = (caller.user, since.0, limit.0.into());
    list_turns::take(caller.line());
    let found = caller.long(&app).read(move |tx| changes::since(tx, user, since, limit)).await?;
    let mut changes = Changes {
        old_state: since.to_string(),
        new_state: found.until.to_string(),
        has_more: found.has_more(),
        ..Changes::default()
    };
    for change in &found.changes {
        let ids = match change.kind() {
            ChangeKind::Created => &mut changes.created,
            ChangeKind::Updated => &mut changes.updated,
            ChangeKind::Destroyed => &mut changes.destroyed,
        };
        ids.push(change.message.get());
    }
    Ok(Json(changes))
}

/// The unread counts of the inbox.
#[derive(Serialize, ToSchema)]
pub(super) struct Unread {
    /// The messages that `GET /v1/messages?unread=true` lists.
    #[schema(minimum = 0, example = 3)]
    messages: i64,
    /// The conversations that have such a message.
    #[schema(minimum = 0, example = 2)]
    conversations: i64,
    /// The state of the mailbox.
    #[schema(example = "17")]
    state: String,
}

impl From<unread::UnreadCounts> for Unread {
    fn from(counts: unread::UnreadCounts) -> Self {
        let unread::UnreadCounts { messages, conversations, modseq: state } = counts;
        Self { messages, conversations, state: state.to_string() }
    }
}

async fn unread(
    State(app): State<App>,
    caller: Caller<Look>,
    preconditions: Preconditions,
) -> Result<Response, Error> {
    let counts = app.db.of(caller.user).read_one(move |tx| unread::counts(tx, caller.user)).await?;
    let tag = counts.modseq.to_string();
    Ok(preconditions.answer(&tag, Json(Unread::from(counts))))
}
