//! `/messages`: writing, listing, reading, deleting.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use db::Tx;
use mail::entries::Glance;
use mail::envelopes::Envelope;
use mail::sending::{self, Draft};
use mail::text::{self, Subject};
use mail::tokens::Scope;
use mail::{MessageId, UserId, mailbox, messages};
use serde::Serialize;

use super::Error;
use super::auth::{Caller, Read, Write};
use super::fields::Input;
use crate::http::App;
use crate::runtime::clock;

/// Ids that a list reads at once on the thread that asks; a longer list is a scan.
const SHORT: u16 = 1000;

#[derive(Serialize)]
struct Written {
    message_id: i64,
}

/// `POST /messages/write_message`
pub(super) async fn write(
    State(app): State<App>,
    caller: Caller<Write>,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    let fields = input.fields()?;
    let lengths = app.limits.texts;
    let to = fields.receiver()?;
    let subject = Subject::parse(fields.subject.text("subject")?.to_owned(), lengths)?;
    let body = text::Body::parse(fields.body.text("body")?.to_owned(), lengths)?;
    let draft = Draft::new(to, subject, body);
    let cx = app.clock.cx();
    let limits = app.limits.sends;
    let sent = app.db.write(move |tx| sending::send(tx, &cx, caller.user, &draft, limits.as_ref()));
    let id = sent.await?.id;
    Ok(Json(Written { message_id: id.get() }))
}

type List = fn(&mut Tx<'_>, UserId, i64) -> mail::Result<Vec<MessageId>>;

/// `GET /messages/messages_per_receiver`
pub(super) async fn received(
    State(app): State<App>,
    caller: Caller<Read>,
) -> Result<Response, Error> {
    list(&app, caller.user, mailbox::received).await
}

/// `GET /messages/unread_per_receiver`
pub(super) async fn unread(
    State(app): State<App>,
    caller: Caller<Read>,
) -> Result<Response, Error> {
    list(&app, caller.user, mailbox::unread).await
}

async fn list(app: &App, owner: UserId, list: List) -> Result<Response, Error> {
    let mut ids = app.db.read(move |tx| list(tx, owner, i64::from(SHORT) + 1)).await?;
    if ids.len() > usize::from(SHORT) {
        ids = app.db.scan(move |tx| list(tx, owner, i64::MAX)).await?;
    }
    let mut json = Vec::with_capacity(32 + 10 * ids.len());
    json.extend_from_slice(b"{\"messages_id\":[");
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, &id.get()).expect("a number is written to memory");
    }
    json.extend_from_slice(b"]}");
    let mut response = Response::new(Body::from(json));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
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
    let found = app.db.read(move |tx| messages::glance(tx, caller.user, id)).await?;
    let (glance, envelope) = found.ok_or(mail::Error::NotFound)?;
    // A page of another site may cause this request, but not that the message counts as read; and
    // a token that may only read may not do that either.
    let may_mark = !caller.cross_site && caller.scopes.contains(Scope::Write);
    if glance.unread && may_mark {
        let cx = app.clock.cx();
        match app.db.write(move |tx| mailbox::mark_read(tx, &cx, caller.user, id)).await {
            // Letters can be read while the disk is full; they stay unread.
            Err(mail::Error::Db(db::Error::Full)) => {}
            marked => marked?,
        }
    }
    Ok(Json(View::of(caller.user, glance, &envelope)).into_response())
}

impl<'a> View<'a> {
    fn of(caller: UserId, glance: Glance, envelope: &'a Envelope) -> Self {
        // The classic API knows one receiver: whoever received it sees himself.
        let receiver = if glance.received { caller } else { envelope.to[0] };
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

#[derive(Serialize)]
struct Deleted {
    status: &'static str,
}

/// `DELETE /messages/delete_message`
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller<Write>,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    let id = input.fields()?.message()?;
    let cx = app.clock.cx();
    app.db.write(move |tx| messages::delete(tx, &cx, caller.user, id)).await?;
    Ok(Json(Deleted { status: "success" }))
}
