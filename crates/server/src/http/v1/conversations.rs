//! `/v1/conversations`: messages that answer each other.

use axum::http::header::ETAG;
use domain::conversations::{self, Conversation, ConversationAction};
use domain::envelopes::BodyPart;
use domain::messages;
use domain::users::Person;
use domain::{ConversationId, MessageId};

use super::page::may_be_long;
use super::preconditions::quoted;
use super::prelude::*;
use super::view::OnlyId;
use crate::http::json::{Ready, write_members};

pub(super) fn api(api: Api) -> Api {
    let change_summary = "Mutes a conversation, or marks all of it as read";
    api.tag("Conversations", "Messages that answer each other.")
        .on("GET /v1/conversations", "listConversations", "Lists the conversations", list)
        .answers_mailbox_page::<ConversationView<'_>>("A page, the newest message first.")
        .on("GET /v1/conversations/{id}", "getConversation", "Reads a conversation", one)
        .answers::<ConversationView<'_>>(200, "The conversation.")
        .header("ETag", "The tag of the conversation.")
        .on("PATCH /v1/conversations/{id}", "changeConversation", change_summary, change)
        .answers_some_of::<ConversationView<'_>>(
            "ChangedConversation",
            "The changed conversation; `id` alone without the scope `messages:read`.",
        )
        .may_have("ETag", "The tag of the conversation, if the response shows it.")
        .on("DELETE /v1/conversations/{id}", "trashConversation", "Trashes a conversation", trash)
        .done("The caller's copies of its messages are in the trash.")
}

/// A conversation as the caller sees it.
#[derive(ToSchema)]
#[schema(as = Conversation)]
struct ConversationView<'a> {
    /// The id of its first message.
    #[schema(minimum = 1, example = 40)]
    id: i64,
    #[schema(example = "Hello")]
    subject: &'a str,
    /// The senders and recipients of its messages, up to 200; in a list the first five.
    #[schema(value_type = Vec<PersonView>)]
    participants: Vec<Ready<'a>>,
    /// How many participants it has, up to 200.
    #[schema(value_type = i64, minimum = 1, example = 2)]
    participants_count: usize,
    /// The newest message that is not in the trash.
    #[schema(required)]
    last_message: Option<MessageItem<'a>>,
    /// How many of its messages are unread in the inbox.
    #[schema(minimum = 0, example = 1)]
    unread: i64,
    /// Whether the caller wants no notifications about it; its messages are counted nevertheless.
    muted: bool,
}

write_members!(
    ConversationView: id subject participants participants_count last_message unread muted
);

impl<'a> ConversationView<'a> {
    fn of(item: &'a Conversation, people: &'a People, part: BodyPart) -> Self {
        Self {
            id: item.id.get(),
            subject: &item.subject,
            participants: people.all(&item.participants),
            participants_count: item.participants_count,
            last_message: item.last.as_ref().map(|last| MessageItem::with(last, people, part)),
            unread: item.unread,
            muted: item.muted,
        }
    }
}

async fn list(
    State(app): State<App>,
    caller: Caller<Read>,
    QueryParams((with, paging)): QueryParams<(WithMetadata, Paging)>,
    preconditions: Preconditions,
) -> Result<Response, Error> {
    let (user, Fields(part)) = (caller.user, with.fields);
    let paging = (paging.before(), paging.limit.0.into());
    let list = move |tx: &mut Tx<'_>| conversations::list(tx, user, part, paging);
    let page = if may_be_long(part, paging.1) {
        waits::wait(app.db.of(user).scan(list)).await?
    } else {
        list_turns::take(caller.line());
        caller.long(&app).read(list).await?
    };
    let tag = (page.modseq, page.tag());
    let people = People::new(page.people);
    let data = page.items.iter().filter_map(|item| {
        Some((item.last.as_ref()?.entry.message, ConversationView::of(item, &people, part)))
    });
    Ok(MailboxPage::answer(&preconditions, data, page.next, tag))
}

async fn one(
    State(app): State<App>,
    caller: Caller<Read>,
    PathId(id): PathId<ConversationId>,
    preconditions: Preconditions,
) -> Result<Response, Error> {
    let (conversation, people) = read(&app, &caller, id).await?;
    let tag = conversation.tag(&people);
    let people = People::new(people);
    let shown = ConversationView::of(&conversation, &people, BodyPart::Snippet);
    Ok(preconditions.answer(&tag, View(shown)))
}

async fn read<S>(
    app: &App,
    caller: &Caller<S>,
    id: ConversationId,
) -> Result<(Conversation, Vec<Person>), Error> {
    let user = caller.user;
    let found = app.db.of(user).read(move |tx| conversations::read(tx, user, id)).await?;
    let found = found.ok_or(domain::Error::NotFound(Missing::Conversation))?;
    list_turns::take_if_long(caller.line(), 0, found.1.len());
    Ok(found)
}

fields! {
    /// What to change in a conversation; fields that are left out stay as they are.
    struct ConversationChange {
        change muted: bool = true;
        /// `true` marks all messages as read, `false` the newest received message as unread.
        change read: bool;
        /// With `read`: the newest message that the user has seen. No newer one is marked.
        change up_to: MessageId;
    }
}

async fn change(
    State(app): State<App>,
    caller: Caller<Write>,
    PathId(id): PathId<ConversationId>,
    preconditions: Preconditions,
    JsonBody(ConversationChange { muted, read, up_to }): JsonBody<ConversationChange>,
) -> Result<Response, Error> {
    let (cx, user, before) = (app.clock.cx(), caller.user, up_to.map(MessageId::next));
    let first_step = caller.write_long_for(&app, Purpose::Store, move |tx| {
        confirm(tx, user, id, &preconditions)?;
        if let Some(muted) = muted {
            conversations::mute(tx, &cx, user, id, muted)?;
        }
        match read {
            Some(true) => step(tx, &cx, user, id, ConversationAction::Read, before),
            Some(false) => conversations::mark_unread(tx, &cx, user, id, before).map(|()| None),
            None => Ok(None),
        }
    });
    let next = first_step.await?;
    apply_to_rest(&app, &caller, id, ConversationAction::Read, next).await?;
    let (conversation, people) = self::read(&app, &caller, id).await?;
    if !caller.may_read() {
        return Ok(Json(OnlyId { id: id.get() }).into_response());
    }
    let tag = [(ETAG, quoted(&conversation.tag(&people)))];
    let people = People::new(people);
    let shown = ConversationView::of(&conversation, &people, BodyPart::Snippet);
    Ok((tag, View(shown)).into_response())
}

fields! {
    struct TrashBounds {
        /// The newest message that the user has seen. No newer one is moved.
        optional up_to: MessageId = 43;
    }
}

async fn trash(
    State(app): State<App>,
    caller: Caller<Write>,
    PathId(id): PathId<ConversationId>,
    QueryParams(TrashBounds { up_to }): QueryParams<TrashBounds>,
    preconditions: Preconditions,
    // A bound in the body would be overlooked.
    JsonBody(()): JsonBody<()>,
) -> Result<StatusCode, Error> {
    let (cx, user, before) = (app.clock.cx(), caller.user, up_to.map(MessageId::next));
    let first_step = caller.write_long_for(&app, Purpose::Free, move |tx| {
        confirm(tx, user, id, &preconditions)?;
        step(tx, &cx, user, id, ConversationAction::Trash, before)
    });
    let next = first_step.await?;
    apply_to_rest(&app, &caller, id, ConversationAction::Trash, next).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Confirms that the conversation is in a state that `If-Match` names, if there is one.
fn confirm(
    tx: &mut Tx<'_>,
    user: UserId,
    id: ConversationId,
    preconditions: &Preconditions,
) -> domain::Result<()> {
    if !preconditions.has_if_match() {
        return Ok(());
    }
    conversations::confirm_state(tx, user, id, &|state: &str| preconditions.allows_state(state))
}

fn step(
    tx: &mut Tx<'_>,
    cx: &Cx,
    user: UserId,
    id: ConversationId,
    action: ConversationAction,
    before: Option<MessageId>,
) -> domain::Result<Option<MessageId>> {
    conversations::apply_to_all(tx, cx, user, id, action, (before, messages::STEP))
}

/// Continues after the first step, so that no sender waits behind a long conversation. What comes
/// after the first step is above `next` and is left alone.
async fn apply_to_rest(
    app: &App,
    caller: &Caller<Write>,
    id: ConversationId,
    action: ConversationAction,
    mut next: Option<MessageId>,
) -> Result<(), Error> {
    let (cx, user) = (app.clock.cx(), caller.user);
    let purpose = match action {
        ConversationAction::Trash => Purpose::Free,
        ConversationAction::Read => Purpose::Store,
    };
    while next.is_some() {
        let done =
            caller.long(app).write_for(purpose, move |tx| step(tx, &cx, user, id, action, next));
        next = done.await?;
    }
    Ok(())
}
