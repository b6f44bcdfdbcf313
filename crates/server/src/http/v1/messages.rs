//! `/v1/messages`.

use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use mail::messages::{self, Marks, Message};
use mail::pages;
use mail::sending::{self, ClientId, Draft, Metadata, RECEIVERS, Refusal, To, Whom};
use mail::text::{self, Body, Lengths, Subject, USERNAME_CHARS};
use mail::{MessageId, UserId, quotas};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::fields::{Fields, Place, flag, id, list as list_of, text as parsed};
use super::filter;
use super::idempotency::{Keyed, Reply};
use super::input::{self, Asked, Id, Input};
use super::operation::{Api, Operation, Tag};
use super::page;
use super::tags::{self, Known};
use super::view::{Item, People, Recipient, Refused, Sent, Whole};
use crate::http::App;
use crate::http::Error;
use crate::http::auth::{Caller, Read, Write};
use crate::http::code::Code;
use crate::http::error::{RATE_LIMIT, RATE_LIMIT_POLICY};

/// The calls under `/v1/messages`, except the batch.
pub(super) fn api(api: Api) -> Api {
    let answered = json!({ "in_reply_to": { "type": "integer" } });
    let reply = json!({ "required": ["in_reply_to"], "properties": answered });
    let send = Operation::post("/v1/messages", "sendMessage", Tag::Messages, "Sends a message")
        .scope::<Write>()
        .body::<NewMessage>()
        .rule(json!({ "anyOf": [{ "required": ["to"] }, reply] }))
        .answers::<Sent<'_>>(201, "The message, which is on the disk now.")
        .header("Location", "Where the message is.")
        .header("ETag", "The tag of the message.")
        .may_have("RateLimit-Policy", "The limits, where there are some.")
        .may_have("RateLimit", "What is left of them.")
        .leads_to(&["getMessage", "markMessage", "unsendMessage", "deleteMessage"], "id", "/id")
        .leads_to(
            &["getConversation", "changeConversation", "trashConversation"],
            "id",
            "/conversation_id",
        )
        .errors(&[Code::RecipientUnavailable, Code::UnknownRecipient, Code::QuotaExceeded]);
    let list = Operation::get("/v1/messages", "listMessages", Tag::Messages, "Lists messages")
        .scope::<Read>();
    let list = filter::parameters(list)
        .paged()
        .answers::<List<'_>>(200, "A page of them. It may be short while there are more.")
        .may_have("ETag", "On the first page: the state of the mailbox.")
        .unchanged();
    let path = "/v1/messages/{id}";
    let one = Operation::get(path, "getMessage", Tag::Messages, "Reads a message; changes nothing")
        .scope::<Read>()
        .answers::<Whole<'_>>(200, "The message.")
        .header("ETag", "The tag of the message.")
        .unchanged();
    let mark = Operation::patch(path, "markMessage", Tag::Messages, "Marks a message")
        .scope::<Write>()
        .body::<Marked>()
        .answers::<Whole<'_>>(200, "The message as it is now.")
        .header("ETag", "The tag of the message.")
        .conditional();
    let destroy = Operation::delete(path, "deleteMessage", Tag::Messages, "Deletes a message")
        .scope::<Write>()
        .done("It is gone from the caller's mailbox for good; others keep theirs.");
    let path = "/v1/messages/{id}/unsend";
    let summary = "Takes a message back from everybody who has not read it";
    let unsend = Operation::post(path, "unsendMessage", Tag::Messages, summary)
        .scope::<Write>()
        .answers::<Unsent>(200, "From whom it was taken, and who had read it.")
        .errors(&[Code::NotTheSender]);
    api.add(send, self::send)
        .add(list, self::list)
        .add(one, self::one)
        .add(mark, self::mark)
        .add(destroy, self::destroy)
        .add(unsend, self::unsend)
}

/// A message to be sent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the domain has the same as a type of its own; this is its schema")]
struct NewMessage {
    /// Up to 100 users, by id or by name. A reply needs none: it goes to everybody whom the
    /// message names that it answers.
    #[schema(nullable = false, min_items = 1, max_items = 100, example = json!([7, "dana"]))]
    to: Option<Vec<Recipient>>,
    /// A reply that has none takes that of the message that it answers, with "Re: " before it.
    #[schema(example = "Hello")]
    subject: Option<String>,
    #[schema(example = "How are you?")]
    body: String,
    /// A message in the caller's mailbox; the reply belongs to its conversation.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    in_reply_to: Option<i64>,
    /// The sender's own name for it, which comes back with it.
    #[schema(min_length = 1, max_length = 255, example = "outbox-17")]
    client_id: Option<String>,
    /// What the app keeps with it: up to 5 KB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<String>,
}

/// The draft, and the receivers as the sender wrote them.
fn draft(
    fields: &mut Fields,
    lengths: Lengths,
    written: &AsWritten<'_>,
) -> Option<(Draft, Vec<Value>)> {
    let in_reply_to = fields.optional("in_reply_to", id::<MessageId>);
    let is_new = in_reply_to == Some(None);
    let to = if is_new || fields.has("to") {
        fields.required("to", list_of(1..=RECEIVERS, recipient))
    } else {
        Some(vec![])
    };
    let subject = fields.optional("subject", parsed(|text| Subject::parse(text.into(), lengths)));
    let body = fields.required("body", parsed(|text| Body::parse(text.into(), lengths)));
    let client_id = fields.optional("client_id", parsed(ClientId::parse));
    let metadata = fields.optional("metadata", |value, place: &mut Place<'_>| {
        metadata(&value, written.metadata, place)
    });
    let (to, written) = to?.into_iter().unzip();
    let draft = Draft {
        to,
        subject: subject?,
        body: body?,
        in_reply_to: in_reply_to?,
        client_id: client_id?,
        metadata: metadata?,
    };
    Some((draft, written))
}

fn recipient(value: Value, place: &mut Place<'_>) -> Option<(To, Value)> {
    let to = match &value {
        Value::Number(number) => input::whole(number).and_then(UserId::new).map(To::Id),
        Value::String(name) if name.chars().nth(USERNAME_CHARS).is_none() => {
            Some(To::Name(text::fold(name))).filter(|_| !name.contains('\0'))
        }
        Value::String(_) => None,
        _ => return place.refuse("wrong_type", "it must be the id of a user or a name"),
    };
    match to {
        Some(to) => Some((to, value)),
        None => place.refuse("invalid", "it must be the id of a user or a name"),
    }
}

/// The metadata as the sender wrote it, where that is known: no number loses a digit.
fn metadata(value: &Value, written: Option<&RawValue>, place: &mut Place<'_>) -> Option<Metadata> {
    if !value.is_object() {
        return place.refuse("wrong_type", "it must be an object");
    }
    let parsed = Metadata::parse(written.map_or_else(|| value.to_string(), ToString::to_string));
    parsed.map_or_else(|invalid| place.refuse("invalid", invalid.problem), Some)
}

/// What of a body is passed on to the letter.
#[derive(Default, Deserialize)]
struct AsWritten<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

async fn send(
    State(app): State<App>,
    caller: Caller<Write>,
    keyed: Keyed,
    mut input: Input,
) -> Result<Response, Error> {
    let (lengths, limits) = (app.limits.texts, app.limits.sends);
    let body = input.bytes().clone();
    let written = serde_json::from_slice(&body).unwrap_or_default();
    let (draft, written) = input.read(|fields| draft(fields, lengths, &written))?;
    let user = caller.user;
    let send = move |tx: &mut db::Tx<'_>, cx: &mail::Cx| {
        let sent = sending::send(tx, cx, user, &draft, limits.as_ref())?;
        let (message, people) =
            messages::read_named(tx, user, sent.id)?.ok_or(mail::Error::NotFound)?;
        let tag = message.tag(&people);
        let people = People::new(people);
        let refused = sent.refused.iter().map(|(whom, refusal)| Refused {
            to: match whom {
                Whom::Named(at) => Cow::Borrowed(&written[*at]),
                Whom::Answered(user) => Cow::Owned(user.get().into()),
            },
            code: match refusal {
                Refusal::Unknown => "unknown_recipient",
                Refusal::Unavailable => "recipient_unavailable",
            },
        });
        let shown = Sent::of(&message, &people, refused.collect());
        let reply = Reply::json(StatusCode::CREATED, &shown)
            .location(format!("/v1/messages/{}", sent.id.get()))
            .header(&ETAG, tags::quoted(&tag));
        Ok(with_quotas(reply, &sent.quotas))
    };
    keyed.run(&app, Some(user), input.bytes(), send).await
}

/// Says what is left of the limits, as draft-ietf-httpapi-ratelimit-headers writes it.
fn with_quotas(reply: Reply, quotas: &[quotas::Standing]) -> Reply {
    if quotas.is_empty() {
        return reply;
    }
    let policy = quotas
        .iter()
        .map(|quota| format!("\"{}\";q={};w={}", quota.name, quota.limit, quota.window_seconds));
    let left = quotas
        .iter()
        .map(|quota| format!("\"{}\";r={};t={}", quota.name, quota.remaining, quota.reset_seconds));
    let joined = |parts: Vec<String>| parts.join(", ");
    reply
        .header(&RATE_LIMIT_POLICY, joined(policy.collect()))
        .header(&RATE_LIMIT, joined(left.collect()))
}

/// A page of messages.
#[derive(Serialize, ToSchema)]
#[schema(as = MessagePage)]
struct List<'a> {
    /// The messages, newest first.
    data: Vec<Item<'a>>,
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
    let (filter, limit, before) = asked.read(|fields| {
        let (filter, limit, before) = (filter::read(fields), fields.limit(), fields.cursor());
        Some((filter?, limit?, before?))
    })?;
    let limit = usize::try_from(limit).unwrap_or_default();
    let user = caller.user;
    if let (None, Some(unchanged)) = (before, known.unmoved(&app, user).await?) {
        return Ok(unchanged);
    }
    let page = if filter.is_selective() {
        app.db.scan(move |tx| pages::list(tx, user, &filter, before, limit)).await?
    } else {
        app.db.read(move |tx| pages::list(tx, user, &filter, before, limit)).await?
    };
    let people = People::new(page.people);
    let list = List {
        data: page.items.iter().map(|item| Item::of(item, &people, vec![])).collect(),
        next_cursor: page.next.map(|next| page::cursor([next.get()])),
        state: page.state.map(|state| state.to_string()),
    };
    Ok(tags::of_list(page.state, Json(list)))
}

async fn one(
    State(app): State<App>,
    caller: Caller<Read>,
    Id(id): Id<MessageId>,
    known: Known,
) -> Result<Response, Error> {
    let found = app.db.read(move |tx| messages::read_named(tx, caller.user, id)).await?;
    let (message, people) = found.ok_or(mail::Error::NotFound)?;
    let tag = message.tag(&people);
    Ok(known.answer(&tag, || shown(&message, people)))
}

fn shown(message: &Message, people: Vec<mail::users::Person>) -> Response {
    let people = People::new(people);
    Json(Whole::of(message, &people, vec![])).into_response()
}

/// How to mark a message; what is left out stays.
#[derive(ToSchema)]
#[schema(as = Marks)]
#[expect(dead_code, reason = "the domain has the same as a type of its own; this is its schema")]
pub(super) struct Marked {
    #[schema(nullable = false, example = true)]
    read: Option<bool>,
    #[schema(nullable = false)]
    starred: Option<bool>,
    #[schema(nullable = false)]
    archived: Option<bool>,
    /// What is in the trash for 30 days is destroyed.
    #[schema(nullable = false)]
    trashed: Option<bool>,
}

/// Reads marks.
pub(super) fn marks(fields: &mut Fields) -> Option<Marks> {
    let read = fields.changed("read", flag);
    let starred = fields.changed("starred", flag);
    let archived = fields.changed("archived", flag);
    let trashed = fields.changed("trashed", flag);
    Some(Marks { read: read?, starred: starred?, archived: archived?, trashed: trashed? })
}

async fn mark(
    State(app): State<App>,
    caller: Caller<Write>,
    Id(id): Id<MessageId>,
    known: Known,
    mut input: Input,
) -> Result<Response, Error> {
    let marks = input.read(marks)?;
    let (cx, user) = (app.clock.cx(), caller.user);
    let marked = app
        .db
        .write(move |tx| messages::mark(tx, &cx, user, id, marks, &|tag: &str| known.allows(tag)));
    let (message, people) = marked.await?;
    let tag = message.tag(&people);
    Ok(([(ETAG, tags::quoted(&tag))], shown(&message, people)).into_response())
}

async fn destroy(
    State(app): State<App>,
    caller: Caller<Write>,
    Id(id): Id<MessageId>,
) -> Result<StatusCode, Error> {
    let (cx, user) = (app.clock.cx(), caller.user);
    app.db.write(move |tx| messages::destroy(tx, &cx, user, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What became of a message that was taken back.
#[derive(Serialize, ToSchema)]
struct Unsent {
    /// The ids of those from whose mailboxes it is gone.
    #[schema(example = json!([7]))]
    withdrawn_from: Vec<i64>,
    /// The ids of those who had read it and keep it.
    #[schema(example = json!([9]))]
    read_by: Vec<i64>,
}

async fn unsend(
    State(app): State<App>,
    caller: Caller<Write>,
    Id(id): Id<MessageId>,
    keyed: Keyed,
    mut input: Input,
) -> Result<Response, Error> {
    input.read(|_fields| Some(()))?;
    let user = caller.user;
    let unsend = move |tx: &mut db::Tx<'_>, cx: &mail::Cx| {
        let unsent = messages::unsend(tx, cx, user, id)?;
        let ids = |users: &[UserId]| users.iter().map(|user| user.get()).collect();
        let unsent =
            Unsent { withdrawn_from: ids(&unsent.withdrawn_from), read_by: ids(&unsent.read_by) };
        Ok(Reply::json(StatusCode::OK, &unsent))
    };
    keyed.run(&app, Some(user), input.bytes(), unsend).await
}
