//! `/v1/conversations`: messages that answer each other.

use domain::ConversationId;
use domain::conversations::{self, Conversation, ConversationAction};

use super::prelude::*;

/// The messages of one transaction: a few milliseconds of the writer's time.
const STEP: usize = 200;

pub(super) fn api(api: Api) -> Api {
    let change_summary = "Mutes a conversation, or marks all of it as read";
    api.tag("Conversations", "Messages that answer each other.")
        .on("GET /v1/conversations", "listConversations", "Lists the conversations", list)
        .answers_mailbox_page::<ConversationView<'_>>("A page, the newest message first.")
        .on("GET /v1/conversations/{id}", "getConversation", "Reads a conversation", one)
        .answers::<ConversationView<'_>>(200, "The conversation.")
        .on("PATCH /v1/conversations/{id}", "changeConversation", change_summary, change)
        .answers::<ConversationView<'_>>(200, "The changed conversation.")
        .on("DELETE /v1/conversations/{id}", "trashConversation", "Trashes a conversation", trash)
        .done("The caller's copies of its messages are in the trash.")
}

/// A conversation as the caller sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Conversation)]
struct ConversationView<'a> {
    /// The id of its first message.
    #[schema(minimum = 1, example = 40)]
    id: i64,
    #[schema(example = "Hello")]
    subject: &'a str,
    /// The senders and recipients of its messages, up to 200.
    #[schema(value_type = Vec<PersonView>)]
    participants: Vec<&'a PersonView>,
    /// The newest message that is not in the trash.
    #[schema(required)]
    last_message: Option<MessageItem<'a>>,
    /// How many of its messages are unread in the inbox.
    #[schema(minimum = 0, example = 1)]
    unread: i64,
    /// Whether the caller wants no notifications about it; its messages are counted nevertheless.
    muted: bool,
}

impl<'a> ConversationView<'a> {
    fn of(item: &'a Conversation, people: &'a People) -> Self {
        Self {
            id: item.id.get(),
            subject: &item.subject,
            participants: people.all(&item.participants),
            last_message: item.last.as_ref().map(|last| MessageItem::of(last, people)),
            unread: item.unread,
            muted: item.muted,
        }
    }
}

async fn list(
    State(app): State<App>,
    caller: Caller<Read>,
    QueryParams(paging): QueryParams<Paging>,
    preconditions: Preconditions,
) -> Result<Response, Error> {
    let (before, limit) = (paging.before(), paging.limit.0.into());
    let page = app.db.read(move |tx| conversations::list(tx, caller.user, before, limit)).await?;
    let tag = (page.modseq, page.tag());
    let people = People::new(page.people);
    let data = page.items.iter().map(|item| ConversationView::of(item, &people)).collect();
    Ok(ListPage::of_mailbox(&preconditions, data, page.next, tag))
}

async fn one(
    State(app): State<App>,
    caller: Caller<Read>,
    PathId(id): PathId<ConversationId>,
) -> Result<Response, Error> {
    show(&app, caller.user, id).await
}

async fn show(app: &App, user: UserId, id: ConversationId) -> Result<Response, Error> {
    let found = app.db.read(move |tx| conversations::read(tx, user, id)).await?;
    let (conversation, people) = found.ok_or(domain::Error::NotFound(Missing::Conversation))?;
    let people = People::new(people);
    Ok(Json(ConversationView::of(&conversation, &people)).into_response())
}

fields! {
    /// What to change in a conversation; fields that are left out stay as they are.
    struct ConversationChange {
        change muted: bool = true;
        /// `true` marks all messages as read, `false` the newest received message as unread.
        change read: bool;
    }
}

async fn change(
    State(app): State<App>,
    caller: Caller<Write>,
    PathId(id): PathId<ConversationId>,
    JsonBody(ConversationChange { muted, read }): JsonBody<ConversationChange>,
) -> Result<Response, Error> {
    let (cx, user) = (app.clock.cx(), caller.user);
    if let Some(muted) = muted {
        app.db.write(move |tx| conversations::mute(tx, &cx, user, id, muted)).await?;
    }
    match read {
        Some(true) => apply_to_all(&app, user, id, ConversationAction::Read).await?,
        Some(false) => {
            app.db.write(move |tx| conversations::mark_unread(tx, &cx, user, id)).await?;
        }
        None => {}
    }
    show(&app, user, id).await
}

async fn trash(
    State(app): State<App>,
    caller: Caller<Write>,
    PathId(id): PathId<ConversationId>,
) -> Result<StatusCode, Error> {
    apply_to_all(&app, caller.user, id, ConversationAction::Trash).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes all messages in steps, so that no sender waits behind a long conversation.
async fn apply_to_all(
    app: &App,
    user: UserId,
    id: ConversationId,
    action: ConversationAction,
) -> Result<(), Error> {
    let cx = app.clock.cx();
    let mut before = None;
    loop {
        let step = (before, STEP);
        let next =
            app.db.write(move |tx| conversations::apply_to_all(tx, &cx, user, id, action, step));
        match next.await? {
            Some(next) => before = Some(next),
            None => return Ok(()),
        }
    }
}
