//! `/v1/messages`, except the batch.

use std::borrow::Cow;

use axum::http::header::{ETAG, HeaderName, LOCATION};
use axum::response::AppendHeaders;
use domain::lists::{self, Filter, FolderFilter};
use domain::messages::{self, Marks, Message};
use domain::search::Query;
use domain::sending::{self, ClientId, Draft, MAX_RECIPIENTS, Metadata, RefusedRecipient};
use domain::text::{Body, Subject};
use domain::users::Person;
use domain::{ConversationId, Invalid, MessageId, Time, UserRef, quotas};

use super::field_types::{List, Recipient};
use super::page::may_be_long;
use super::preconditions::quoted;
use super::prelude::*;
use super::view::{OnlyId, Refused, SentId, SentMessage, WholeMessage};
use crate::http::error::{RATE_LIMIT, RATE_LIMIT_POLICY};
use crate::http::messages::count_refused;

pub(super) fn api(api: Api) -> Api {
    let on_conversation = ["getConversation", "changeConversation", "trashConversation"];
    let unsend_summary = "Withdraws a message from recipients who have never read it";
    api.tag("Messages", "Sending, listing, reading, marking and deleting messages.")
        .on("POST /v1/messages", "sendMessage", "Sends a message", send)
        .answers::<SentMessage<'_>>(
            201,
            "The message, which is stored durably. A replay shows it as it is now: with `id` and \
             `refused` alone if the caller has deleted it since, or has no scope `messages:read`.",
        )
        .may_lack::<SentMessage<'_>>(&["id", "refused"])
        .header("Location", "The path of the message.")
        .may_have("ETag", "The tag of the message, if the response shows it.")
        .may_have("RateLimit-Policy", "The limits, if there are any.")
        .may_have("RateLimit", "What is left of them.")
        .leads_to(&["getMessage", "markMessage", "unsendMessage", "deleteMessage"], "id", "/id")
        .leads_to(&on_conversation, "id", "/conversation_id")
        .errors(&[Code::RecipientUnavailable, Code::BlockedByYou, Code::NoReplies])
        .errors(&[Code::UnknownRecipient, Code::QuotaExceeded])
        .on("GET /v1/messages", "listMessages", "Lists messages", list)
        .answers_mailbox_page::<MessageItem<'_>>(
            "A page. It may have fewer items than the limit even if there are more.",
        )
        .on("GET /v1/messages/{id}", "getMessage", "Reads a message; changes nothing", one)
        .answers::<WholeMessage<'_>>(200, "The message.")
        .header("ETag", "The tag of the message.")
        .on("PATCH /v1/messages/{id}", "markMessage", "Marks a message", mark)
        .answers_some_of::<WholeMessage<'_>>(
            "MarkedMessage",
            "The marked message; `id` alone without the scope `messages:read`.",
        )
        .may_have("ETag", "The tag of the message, if the response shows it.")
        .on("DELETE /v1/messages/{id}", "deleteMessage", "Deletes a message", delete)
        .done(
            "The message is gone from the caller's mailbox for good; others keep theirs. \
             Repeating it within 30 days gets the same response.",
        )
        .on("POST /v1/messages/{id}/unsend", "unsendMessage", unsend_summary, unsend)
        .answers::<Unsent>(200, "From whom it was withdrawn, and who has read it.")
        .done("It was withdrawn; the token lacks `messages:read`, and learns no more.")
        .errors(&[Code::NotTheSender])
}

fields! {
    /// The message to send.
    struct NewMessage {
        /// Up to 100 users. Without it, a reply goes to the sender and all
        /// recipients of the message that it answers.
        change to: List<Recipient, MAX_RECIPIENTS> = [7, "dana"];
        /// Without it, a reply has that of the message that it answers, with "Re: " in front. A
        /// token without the scope `messages:read` has to say one beside `to`.
        optional subject: Subject = "Hello";
        required body: Body = "How are you?";
        /// The message to answer, from the caller's mailbox; the reply joins its conversation.
        optional in_reply_to: MessageId;
        /// The sender's own name for the message, which only they see.
        optional client_id: ClientId = "outbox-17";
        /// What the app stores with the message: up to 5 KB.
        optional metadata: Metadata;
    }
    rules [Rule::Unless("to", "in_reply_to")]
}

async fn send(
    State(app): State<App>,
    caller: Caller<Write>,
    KeyedBody(new, request): KeyedBody<NewMessage>,
) -> Result<Response, Error> {
    let limits = app.limits.sends;
    let NewMessage { to, subject, body, in_reply_to, client_id, metadata } = new;
    let recipients = to.map(|List(recipients)| recipients).unwrap_or_default();
    let (to, written): (Vec<_>, Vec<_>) =
        recipients.into_iter().map(|Recipient(to, written)| (to, written)).unzip();
    let via = caller.acting.as_ref().map(|call| call.key.name.clone());
    let draft = Draft { to, subject, body, in_reply_to, client_id, metadata, via };
    let (user, may_read) = (caller.user, caller.may_read());
    let send = move |tx: &mut Tx<'_>, cx: &Cx, _secret: &[u8; 32]| {
        if draft.takes_subject_elsewhere() && !may_read {
            let problem = "say one, or leave `to` out: the token may not read that of the message \
                           that it answers";
            return Err(Invalid::new("subject", problem).into());
        }
        let sent = sending::send(tx, cx, user, &draft, limits.as_ref())?;
        let refused = sent.refused.iter().map(|(whom, refusal)| {
            let whom = match whom {
                RefusedRecipient::Named(at) => Whom::Named(*at),
                RefusedRecipient::FromParent(user) => Whom::FromParent(user.get()),
            };
            (whom, Code::from(*refusal).facts().slug.to_owned())
        });
        let (id, refused) = (sent.id.get(), refused.collect());
        let shown = may_read.then(|| sent.message(tx, &draft)).transpose()?;
        Ok(KeptSend { id, refused, quotas: sent.quotas, shown })
    };
    let show = move |tx: &mut Tx<'_>, _cx: &Cx, kept: &KeptSend, _secret: &[u8; 32]| {
        let refused = kept.refused.iter().filter_map(|(whom, code)| {
            let to = match whom {
                Whom::Named(at) => Cow::Borrowed(&written[*at]),
                Whom::FromParent(user) => Cow::Owned(may_read.then_some(*user)?.into()),
            };
            Some(Refused { to, code })
        });
        let refused = refused.collect();
        let found = match (&kept.shown, MessageId::new(kept.id)) {
            (Some(shown), _) => Some(Cow::Borrowed(shown)),
            (None, Some(id)) if may_read => {
                messages::read_with_people(tx, user, id)?.map(Cow::Owned)
            }
            (None, _) => None,
        };
        let location = [(LOCATION, format!("/v1/messages/{}", kept.id))];
        let headers = (location, AppendHeaders(rate_limits(&kept.quotas)));
        let Some(found) = found else {
            let shown = Json(SentId { id: kept.id, refused });
            return Ok(Some((StatusCode::CREATED, headers, shown).into_response()));
        };
        let (message, people) = &*found;
        let tag = [(ETAG, quoted(&message.tag(people)))];
        let people = People::new(people.clone());
        let mut shown = SentMessage::of(message, &people);
        shown.refused = refused;
        Ok(Some((StatusCode::CREATED, headers, tag, View(shown)).into_response()))
    };
    match request.run(&app, caller.by(), send, show).await {
        Ok(response) => Ok(response),
        Err(error) => {
            let error = count_refused(&app, user, error).await;
            Err(if may_read { error } else { error.naming_nobody() })
        }
    }
}

/// What is stored of a send.
#[derive(Serialize, Deserialize)]
struct KeptSend {
    id: i64,
    /// Whom it did not reach, and the code that says why.
    refused: Vec<(Whom, String)>,
    /// What was left then is not what is left now.
    #[serde(skip)]
    quotas: Vec<quotas::Remaining>,
    /// A replay reads it again: it may have changed, or be gone.
    #[serde(skip)]
    shown: Option<(Message, Vec<Person>)>,
}

/// A recipient, without their name.
#[derive(Serialize, Deserialize)]
enum Whom {
    /// By the place in the request.
    Named(usize),
    /// By id.
    FromParent(i64),
}

/// What is left of the quotas (draft-ietf-httpapi-ratelimit-headers).
fn rate_limits(quotas: &[quotas::Remaining]) -> Vec<(HeaderName, String)> {
    if quotas.is_empty() {
        return Vec::new();
    }
    let join = |show: fn(&quotas::Remaining) -> String| {
        quotas.iter().map(show).collect::<Vec<_>>().join(", ")
    };
    let policy = join(|q| format!("\"{}\";q={};w={}", q.name, q.limit, q.window_seconds));
    let left = join(|q| format!("\"{}\";r={};t={}", q.name, q.remaining, q.reset_seconds));
    vec![(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)]
}

fields! {
    /// Selects messages; each given condition must hold.
    for Filter as "Filter" {
        /// The folder of the mailbox; `all` is everything but the trash.
        or_default folder: FolderFilter = "inbox";
        /// Only unread messages, or only read ones.
        change unread: bool = true;
        /// Only starred messages, or only those without a star.
        change starred: bool = true;
        /// Only messages that this user, besides the caller, sent or received.
        change with: UserRef = 7;
        /// Only messages of this conversation.
        change conversation: ConversationId = 40;
        /// Only messages sent at this time or later.
        change since: Time = "2026-11-22T20:16:23Z";
        /// Only messages sent before this time.
        change until: Time = "2026-11-22T20:16:23Z";
        /// Only messages that contain all these words, "phrases" and prefix*.
        change words ("q"): Query = "quick \"brown fox\" jump*";
    }
}

async fn list(
    State(app): State<App>,
    caller: Caller<Read>,
    QueryParams((filter, (with, paging))): QueryParams<(Filter, (WithFields, Paging))>,
    preconditions: Preconditions,
) -> Result<Response, Error> {
    let (user, Fields(part)) = (caller.user, with.fields);
    let paging = (paging.before(), paging.limit.0.into());
    let page = if filter.is_selective() || may_be_long(part, paging.1) {
        let scan = move |tx: &mut Tx<'_>| lists::page(tx, user, &filter, part, paging);
        waits::wait(app.db.of(user).scan(scan)).await?
    } else {
        list_turns::take(caller.line());
        caller.long(&app).read(move |tx| lists::page(tx, user, &filter, part, paging)).await?
    };
    let tag = (page.modseq, page.tag());
    let people = People::new(page.people);
    let data = page.items.iter();
    let data = data.map(|item| (item.entry.message, MessageItem::with(item, &people, part)));
    Ok(MailboxPage::answer(&preconditions, data, page.next, tag))
}

async fn one(
    State(app): State<App>,
    caller: Caller<Read>,
    PathId(id): PathId<MessageId>,
    preconditions: Preconditions,
) -> Result<Response, Error> {
    let found = app
        .db
        .of(caller.user)
        .read(move |tx| messages::read_with_people(tx, caller.user, id))
        .await?;
    let (message, people) = found.ok_or(domain::Error::NotFound(Missing::Message))?;
    list_turns::take_if_long(caller.line(), message.envelope.body.len(), people.len());
    let tag = message.tag(&people);
    let people = People::new(people);
    Ok(preconditions.answer(&tag, View(WholeMessage::of(&message, &people))))
}

fields! {
    /// How to mark a message; fields that are left out stay as they are.
    for Marks as "Marks" {
        change read: bool = true;
        change starred: bool;
        change archived: bool;
        /// Messages are deleted after 30 days in the trash.
        change trashed: bool;
    }
}

async fn mark(
    State(app): State<App>,
    caller: Caller<Write>,
    PathId(id): PathId<MessageId>,
    preconditions: Preconditions,
    JsonBody(marks): JsonBody<Marks>,
) -> Result<Response, Error> {
    let (cx, user) = (app.clock.cx(), caller.user);
    let marked = caller.write(&app, move |tx| {
        messages::mark(tx, &cx, user, id, marks, &|tag: &str| preconditions.allows(tag))
    });
    let (message, people) = marked.await?;
    if !caller.may_read() {
        return Ok(Json(OnlyId { id: id.get() }).into_response());
    }
    let tag = message.tag(&people);
    let people = People::new(people);
    let shown = View(WholeMessage::of(&message, &people));
    Ok(([(ETAG, quoted(&tag))], shown).into_response())
}

async fn delete(
    State(app): State<App>,
    caller: Caller<Write>,
    PathId(id): PathId<MessageId>,
    // A bound in the query string would be overlooked.
    QueryParams(()): QueryParams<()>,
    preconditions: Preconditions,
    JsonBody(()): JsonBody<()>,
) -> Result<StatusCode, Error> {
    let (cx, user) = (app.clock.cx(), caller.user);
    let deleted = caller.write_for(&app, Purpose::Free, move |tx| {
        if preconditions.has_if_match() {
            messages::confirm_tag(tx, user, id, &|tag: &str| preconditions.allows(tag))?;
        }
        messages::delete(tx, &cx, user, id)
    });
    deleted.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The result of withdrawing a message.
#[derive(Serialize, Deserialize, ToSchema)]
struct Unsent {
    /// The ids of the users from whose mailboxes it was withdrawn.
    #[schema(example = json!([7]))]
    withdrawn_from: Vec<i64>,
    /// The ids of the users who have ever read it and keep it, even if they marked it as unread.
    #[schema(example = json!([9]))]
    read_by: Vec<i64>,
}

async fn unsend(
    State(app): State<App>,
    caller: Caller<Write>,
    PathId(id): PathId<MessageId>,
    KeyedBody((), request): KeyedBody<()>,
) -> Result<Response, Error> {
    let (user, may_read) = (caller.user, caller.may_read());
    let unsend = move |tx: &mut Tx<'_>, cx: &Cx, _secret: &[u8; 32]| {
        let unsent = messages::unsend(tx, cx, user, id)?;
        let ids = |users: &[UserId]| users.iter().map(|user| user.get()).collect();
        Ok(Unsent { withdrawn_from: ids(&unsent.withdrawn_from), read_by: ids(&unsent.read_by) })
    };
    let show = move |_tx: &mut Tx<'_>, _cx: &Cx, kept: &Unsent, _secret: &[u8; 32]| {
        let shown = may_read.then(|| Json(kept).into_response());
        Ok(Some(shown.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())))
    };
    request.freeing().wide().run(&app, caller.by(), unsend, show).await
}
