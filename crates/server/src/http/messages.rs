//! `/messages`: writing, listing, reading, deleting.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use db::Tx;
use jiff::Timestamp;
use mail::messages::{Draft, Message};
use mail::text::{self, Subject};
use mail::{MessageId, UserId, mailbox, messages};
use serde::Serialize;

use super::Error;
use super::auth::Caller;
use super::fields::Input;
use crate::App;

/// Ids that a list reads at once on the thread that asks; a longer list is a scan.
const SHORT: u16 = 1000;

#[derive(Serialize)]
struct Written {
    message_id: i64,
}

/// `POST /messages/write_message`
pub(super) async fn write(
    State(app): State<App>,
    caller: Caller,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    let fields = input.fields()?;
    let lengths = app.limits.texts;
    let draft = Draft {
        to: fields.receiver()?,
        subject: Subject::parse(fields.subject.text("subject")?.to_owned(), lengths)?,
        body: text::Body::parse(fields.body.text("body")?.to_owned(), lengths)?,
    };
    let cx = app.clock.cx();
    let id = app.db.write(move |tx| messages::send(tx, &cx, caller.user, &draft)).await?;
    Ok(Json(Written { message_id: id.get() }))
}

type List = fn(&mut Tx<'_>, UserId, i64) -> mail::Result<Vec<MessageId>>;

/// `GET /messages/messages_per_receiver`
pub(super) async fn received(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    list(&app, caller.user, mailbox::received).await
}

/// `GET /messages/unread_per_receiver`
pub(super) async fn unread(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    list(&app, caller.user, mailbox::unread).await
}

async fn list(app: &App, owner: UserId, list: List) -> Result<Response, Error> {
    let mut ids = app.db.read(|tx| list(tx, owner, i64::from(SHORT) + 1)).await?;
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
    caller: Caller,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    let id = input.fields()?.message()?;
    let found = app.db.read(|tx| messages::read(tx, caller.user, id)).await?;
    let (message, unread) = found.ok_or(mail::Error::NotFound)?;
    // A page of another site may cause this request, but not that the message counts as read.
    if unread && !caller.cross_site {
        let cx = app.clock.cx();
        match app.db.write(move |tx| mailbox::mark_read(tx, &cx, caller.user, id)).await {
            // Letters can be read while the disk is full; they stay unread.
            Err(mail::Error::Db(db::Error::Full)) => {}
            marked => marked?,
        }
    }
    Ok(Json(View::of(&message)).into_response())
}

impl<'a> View<'a> {
    fn of(message: &'a Message) -> Self {
        let sent_at = Timestamp::from_microsecond(message.sent_at.0).unwrap_or(Timestamp::MAX);
        Self {
            message_id: message.id.get(),
            sender_id: message.sender.get(),
            receiver_id: message.receiver.get(),
            subject: &message.subject,
            body: &message.body,
            creation_date: sent_at.to_string(),
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
    caller: Caller,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    let id = input.fields()?.message()?;
    let cx = app.clock.cx();
    app.db.write(move |tx| messages::delete(tx, &cx, caller.user, id)).await?;
    Ok(Json(Deleted { status: "success" }))
}
