//! `/v1/conversations`: messages that answer each other, as one thing.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mail::conversations::{self, Conversation, Sweep};
use mail::{ConversationId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::fields::flag;
use super::input::{Asked, Id, Input};
use super::operation::{Api, Operation, Tag};
use super::page;
use super::tags::{self, Known};
use super::users::Person;
use super::view::{Item, People};
use crate::http::App;
use crate::http::Error;
use crate::http::auth::{Caller, Read, Write};
use crate::http::code::Code;

/// Messages that are marked in one transaction: a few milliseconds of the writer's time.
const STEP: usize = 200;

/// The calls under `/v1/conversations`.
pub(super) fn api(api: Api) -> Api {
    let path = "/v1/conversations";
    let summary = "Lists the conversations";
    let list = Operation::get(path, "listConversations", Tag::Conversations, summary)
        .scope::<Read>()
        .paged()
        .answers::<List<'_>>(200, "A page of them, the one with the newest message first.")
        .may_have("ETag", "On the first page: the state of the mailbox.")
        .unchanged();
    let path = "/v1/conversations/{id}";
    let one = Operation::get(path, "getConversation", Tag::Conversations, "Reads a conversation")
        .scope::<Read>()
        .answers::<View<'_>>(200, "The conversation.");
    let summary = "Mutes a conversation, or marks all of it as read";
    let change = Operation::patch(path, "changeConversation", Tag::Conversations, summary)
        .scope::<Write>()
        .body::<Change>()
        .answers::<View<'_>>(200, "The conversation as it is now.");
    let summary = "Moves a conversation to the trash";
    let trash = Operation::delete(path, "trashConversation", Tag::Conversations, summary)
        .scope::<Write>()
        .done("The caller's copies of its messages are in the trash.");
    api.add(list, self::list).add(one, self::one).add(change, self::change).add(trash, self::trash)
}

/// A conversation, as the caller sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Conversation)]
struct View<'a> {
    /// The id of the message that began it.
    #[schema(minimum = 1, example = 40)]
    id: i64,
    #[schema(example = "Hello")]
    subject: &'a str,
    /// Everybody whom its messages name, up to 200.
    #[schema(value_type = Vec<Person>)]
    participants: Vec<&'a Person>,
    /// The newest message that is not in the trash.
    #[schema(required)]
    last_message: Option<Item<'a>>,
    /// Messages that are unread in the inbox.
    #[schema(minimum = 0, example = 1)]
    unread: i64,
    /// Whether the caller wants to hear nothing of it; it is counted all the same.
    muted: bool,
}

impl<'a> View<'a> {
    fn of(item: &'a Conversation, people: &'a People) -> Self {
        Self {
            id: item.id.get(),
            subject: &item.subject,
            participants: people.all(&item.participants),
            last_message: item.last.as_ref().map(|last| Item::of(last, people, vec![])),
            unread: item.unread,
            muted: item.muted,
        }
    }
}

/// A page of conversations.
#[derive(Serialize, ToSchema)]
#[schema(as = ConversationPage)]
struct List<'a> {
    /// The conversations, the one with the newest message first.
    data: Vec<View<'a>>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
    /// On the first page: the state of the mailbox that it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "17")]
    state: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Caller<Read>,
    known: Known,
    asked: Asked,
) -> Result<Response, Error> {
    let (limit, before) = asked.read(|fields| {
        let (limit, before) = (fields.limit(), fields.cursor());
        Some((limit?, before?))
    })?;
    if let (None, Some(unchanged)) = (before, known.unmoved(&app, caller.user).await?) {
        return Ok(unchanged);
    }
    let limit = usize::try_from(limit).unwrap_or_default();
    let page = app.db.read(move |tx| conversations::list(tx, caller.user, before, limit)).await?;
    let people = People::new(page.people);
    let list = List {
        data: page.items.iter().map(|item| View::of(item, &people)).collect(),
        next_cursor: page.next.map(|next| page::cursor([next.get()])),
        state: page.state.map(|state| state.to_string()),
    };
    Ok(tags::of_list(page.state, Json(list)))
}

async fn one(
    State(app): State<App>,
    caller: Caller<Read>,
    Id(id): Id<ConversationId>,
) -> Result<Response, Error> {
    show(&app, caller.user, id).await
}

async fn show(app: &App, user: UserId, id: ConversationId) -> Result<Response, Error> {
    let found = app.db.read(move |tx| conversations::read(tx, user, id)).await?;
    let (conversation, people) = found.ok_or(mail::Error::NotFound).map_err(named)?;
    let people = People::new(people);
    Ok(Json(View::of(&conversation, &people)).into_response())
}

/// What to change of a conversation; what is left out stays.
#[derive(ToSchema)]
#[schema(as = ConversationChange)]
struct Change {
    #[schema(nullable = false, example = true)]
    muted: Option<bool>,
    /// `true` marks all of it as read, `false` the newest message that was received as unread.
    #[schema(nullable = false)]
    read: Option<bool>,
}

async fn change(
    State(app): State<App>,
    caller: Caller<Write>,
    Id(id): Id<ConversationId>,
    mut input: Input,
) -> Result<Response, Error> {
    let Change { muted, read } = input.read(|fields| {
        let (muted, read) = (fields.changed("muted", flag), fields.changed("read", flag));
        Some(Change { muted: muted?, read: read? })
    })?;
    let (cx, user) = (app.clock.cx(), caller.user);
    if let Some(muted) = muted {
        let muted = app.db.write(move |tx| conversations::mute(tx, &cx, user, id, muted));
        muted.await.map_err(named)?;
    }
    match read {
        Some(true) => sweep(&app, user, id, Sweep::Read).await?,
        Some(false) => {
            let marked = app.db.write(move |tx| conversations::mark_unread(tx, &cx, user, id));
            marked.await.map_err(named)?;
        }
        None => {}
    }
    show(&app, user, id).await
}

async fn trash(
    State(app): State<App>,
    caller: Caller<Write>,
    Id(id): Id<ConversationId>,
) -> Result<StatusCode, Error> {
    sweep(&app, caller.user, id, Sweep::Trash).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Does it to all messages, in steps, so that no sender waits behind a long conversation.
async fn sweep(app: &App, user: UserId, id: ConversationId, what: Sweep) -> Result<(), Error> {
    let cx = app.clock.cx();
    let mut before = None;
    loop {
        let step = (before, STEP);
        let next = app.db.write(move |tx| conversations::sweep(tx, &cx, user, id, what, step));
        match next.await.map_err(named)? {
            Some(next) => before = Some(next),
            None => return Ok(()),
        }
    }
}

/// What is not found here is a conversation.
fn named(error: mail::Error) -> Error {
    match error {
        mail::Error::NotFound => Error::new(Code::NotFound, "there is no such conversation"),
        other => other.into(),
    }
}
