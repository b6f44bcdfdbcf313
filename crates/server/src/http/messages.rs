//! `/messages` of the classic API: sending, listing, reading and deleting.

use crate::http::json::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use db::{Purpose, Tx};
use domain::entries::Flags;
use domain::envelopes::Envelope;
use domain::sending::{self, Draft};
use domain::text::{self, Subject};
use domain::tokens::Scope;
use domain::unread::ClassicList;
use domain::{MessageId, Missing, UserId, messages, unread};
use serde::Serialize;
use serde_json::json;

use super::auth::{Caller, Read, Write};
use super::classic_body::Input;
use super::{Error, list_turns, waits};
use crate::http::App;
use crate::runtime::clock;

/// The longest list that is read without waiting for a turn: what most people have.
const SHORT: usize = 100;
/// The longest list that is read at once; a longer one is a few scans, one after the other.
const READ_AT_ONCE: usize = 1000;

/// `POST /messages/write_message`
pub(super) async fn write(
    State(app): State<App>,
    caller: Caller<Write>,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    let fields = input.fields()?;
    let lengths = app.limits.texts;
    let to = fields.receiver()?;
    let subject = Subject::parse(fields.subject.text("subject")?, lengths)?;
    let body = text::Body::parse(fields.body.text("body")?, lengths)?;
    let draft = Draft::new(to, subject, body);
    let cx = app.clock.cx();
    let limits = app.limits.sends;
    let user = caller.user;
    let sent =
        app.db.of(user).write(move |tx| sending::send(tx, &cx, user, &draft, limits.as_ref()));
    match sent.await {
        Ok(sent) => Ok(Json(Written { message_id: sent.id.get() })),
        Err(error) => Err(count_refused(&app, user, error.into()).await),
    }
}

#[derive(Serialize)]
struct Written {
    message_id: i64,
}

/// Counts the recipients of a message that reached nobody as look-ups of its sender, who learns of
/// each whether they are there. Returns the error that says so, or that there were too many.
pub(super) async fn count_refused(app: &App, sender: UserId, error: Error) -> Error {
    let counted = app.count_lookups(sender, error.refused_recipients()).await;
    counted.err().map_or(error, Error::from)
}

/// `GET /messages/messages_per_receiver`
pub(super) async fn received(
    State(app): State<App>,
    caller: Caller<Read>,
) -> Result<Response, Error> {
    list(&app, &caller, ClassicList::Received).await
}

/// `GET /messages/unread_per_receiver`
pub(super) async fn unread(
    State(app): State<App>,
    caller: Caller<Read>,
) -> Result<Response, Error> {
    list(&app, &caller, ClassicList::Unread).await
}

async fn list(app: &App, caller: &Caller<Read>, list: ClassicList) -> Result<Response, Error> {
    let owner = caller.user;
    let read = |most| app.db.of(owner).read_one(move |tx| unread::ids(tx, owner, list, most));
    let mut ids = read(SHORT).await?;
    if ids.is_none() {
        list_turns::take(caller.line());
        ids = read(READ_AT_ONCE).await?;
    }
    let ids = match ids {
        Some(ids) => ids,
        None => long_list(app, owner, list).await?,
    };
    Ok(Json(Ids { messages_id: ids.into_iter().map(MessageId::get).collect() }).into_response())
}

/// Others have their turn between the parts.
async fn long_list(app: &App, owner: UserId, list: ClassicList) -> Result<Vec<MessageId>, Error> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let part = app.db.of(owner).scan(move |tx| unread::next_ids(tx, owner, list, after));
        let (part, next) = waits::wait(part).await?;
        ids.extend(part);
        match next {
            Some(_) => after = next,
            None => return Ok(ids),
        }
    }
}

#[derive(Serialize)]
struct Ids {
    messages_id: Vec<i64>,
}

#[derive(Serialize)]
struct View<'a> {
    message_id: i64,
    sender_id: i64,
    receiver_id: i64,
    subject: &'a str,
    body: &'a str,
    creation_date: String,
}

/// `GET /messages/read_message`
pub(super) async fn read(
    State(app): State<App>,
    caller: Caller<Read>,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    let id = input.fields()?.message()?;
    let found = app
        .db
        .of(caller.user)
        .read(move |tx| messages::read_with_flags(tx, caller.user, id))
        .await?;
    let (flags, envelope) = found.ok_or(domain::Error::NotFound(Missing::Message))?;
    list_turns::take_if_long(caller.line(), envelope.body.len(), 0);
    // A page of another site can cause this request, which must not mark the message as read; nor
    // must a token that can only read.
    let may_mark = !caller.cross_site && caller.scopes.contains(Scope::Write);
    if flags.unread && may_mark {
        // If its sender has taken it back since, nobody gets the text that was never read.
        let cx = app.clock.cx();
        match app
            .db
            .of(caller.user)
            .write(move |tx| unread::mark_read(tx, &cx, caller.user, id))
            .await
        {
            // Messages can be read while the disk is full; they stay unread.
            Err(domain::Error::Db(db::Error::Full)) => {}
            marked => marked?,
        }
    }
    Ok(Json(View::of(caller.user, flags, &envelope)).into_response())
}

impl<'a> View<'a> {
    fn of(caller: UserId, flags: Flags, envelope: &'a Envelope) -> Self {
        // The classic API has one receiver: a recipient sees their own id.
        let receiver = if flags.received { caller } else { envelope.to[0] };
        Self {
            message_id: envelope.id.get(),
            sender_id: envelope.from.get(),
            receiver_id: receiver.get(),
            subject: &envelope.subject,
            body: &envelope.body,
            creation_date: clock::rfc3339(envelope.sent_at),
        }
    }
}

/// `DELETE /messages/delete_message`
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller<Write>,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    let id = input.fields()?.message()?;
    let cx = app.clock.cx();
    let delete = move |tx: &mut Tx<'_>| messages::delete_or_withdraw(tx, &cx, caller.user, id);
    app.db.of(caller.user).write_for(Purpose::Free, delete).await?;
    Ok(Json(json!({ "status": "success" })))
}
