//! `/v1/server/messages`: what a system user writes to many people at once.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use domain::sending::Metadata;
use domain::system_messages::{self, MAX_RECIPIENTS, SystemDraft};
use domain::text::{Body, Subject};
use domain::{Invalid, Time, UserRef, audit, users};
use serde_json::Value;

use crate::http::body::pace;
use crate::http::server_key::System;
use crate::http::unfinished_bodies::Holder;
use crate::http::v1::field_types::{List, Recipient};
use crate::http::v1::prelude::*;
use crate::http::v1::view::Refused;

/// What a stored byte of a body takes of the time of all server keys: 16 MiB a second, a tenth of
/// what a usual disk writes. They have 64 MiB ahead.
const STORED_BYTE: Duration = Duration::from_nanos(1_000_000_000 / (16 << 20));

pub(super) fn api(api: Api) -> Api {
    let summary = "Sends a message of its own to each of up to 1,000 users";
    api.on("POST /v1/server/messages", "sendSystemMessages", summary, send)
        .answers::<SystemMessages<'_>>(
            201,
            "The messages, in the order of the request. They are sent in steps of 200 recipients, \
             or fewer where the body is long; where one fails, a retry with the same \
             Idempotency-Key goes on after the last one that was done, and no message is sent \
             twice.",
        )
        .errors(&[Code::Invalid])
}

fields! {
    /// A message that a system user sends to each recipient alone.
    struct NewSystemMessages {
        /// The system user who sends it.
        required from: UserRef = "ext:shop";
        /// Up to 1,000 users. Each gets a conversation of their own and sees no other recipient.
        required to: List<Recipient, MAX_RECIPIENTS> = [7, "ext:42"];
        required subject: Subject = "Your order";
        required body: Body = "It was sent today.";
        /// What the app stores with the message: up to 5 KB.
        optional metadata: Metadata;
        /// `true`: recipients have it as read from the beginning.
        or_default silent: bool;
        /// When it is withdrawn from those who have never read it.
        optional expires_at: Time = "2027-01-01T00:00:00Z";
        /// `false`: nobody is reminded of it by e-mail.
        optional reminder: bool;
    }
}

/// The messages that were sent, and who got none.
#[derive(Serialize, ToSchema)]
struct SystemMessages<'a> {
    messages: Vec<SystemMessage>,
    refused: Vec<Refused<'a>>,
}

/// A message of one recipient.
#[derive(Serialize, ToSchema)]
struct SystemMessage {
    /// The recipient.
    user: PersonView,
    #[schema(minimum = 1, example = 42)]
    id: i64,
}

/// What is stored of a step: numbers alone, and small ones, as there may be many.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Part {
    /// What the numbers of users and messages begin at.
    first: (i64, i64),
    messages: Vec<(i64, i64)>,
    /// The places in the request, and the code.
    refused: Vec<(usize, String)>,
}

impl Part {
    fn users(&self) -> impl Iterator<Item = UserId> {
        self.messages.iter().filter_map(|(user, _)| UserId::new(self.first.0 + user))
    }
}

async fn send(
    State(app): State<App>,
    caller: ServerCaller<System>,
    KeyedBody(new, request): KeyedBody<NewSystemMessages>,
) -> Result<Response, Error> {
    let NewSystemMessages { from, to, subject, body, metadata, silent, expires_at, reminder } = new;
    let List(to) = to;
    let (to, written): (Vec<UserRef>, Vec<Value>) =
        to.into_iter().map(|Recipient(to, written)| (to, written)).unzip();
    let reminder = reminder.unwrap_or(true);
    let draft = SystemDraft { subject, body, metadata, silent, expires_at, reminder };
    // Each recipient has a copy, and while much is stored, others wait for the disk.
    pace(&app, Holder::Key, STORED_BYTE, to.len() * draft.body.as_str().len()).await?;
    let most = draft.step();
    let (steps, shared) = (to.len().div_ceil(most), Arc::new((from, to, draft)));
    let call = Arc::clone(&caller.call);
    let step = move |tx: &mut Tx<'_>, cx: &Cx, step: usize, before: &[Part]| {
        let (from, to, draft) = &*shared;
        let from = users::resolve(tx, from)?;
        let from = from.ok_or_else(|| Invalid::new("from", "there is no such user"))?;
        let begin = step * most;
        let to = &to[begin..to.len().min(begin + most)];
        let already: Vec<_> = before.iter().flat_map(Part::users).collect();
        let sent = system_messages::send(tx, cx, from, to, draft, &already)?;
        if step == 0 {
            audit::record(tx, cx, &call, Some(from))?;
        }
        let code = |refusal| Code::from(refusal).facts().slug.to_owned();
        let numbers = || sent.messages.iter().map(|(user, id)| (user.get(), id.get()));
        let first = (
            numbers().map(|(user, _)| user).min().unwrap_or_default(),
            numbers().map(|(_, id)| id).min().unwrap_or_default(),
        );
        Ok(Part {
            first,
            messages: numbers().map(|(user, id)| (user - first.0, id - first.1)).collect(),
            refused: sent.refused.iter().map(|(at, why)| (begin + at, code(*why))).collect(),
        })
    };
    let (parts, replayed) = request.run_in_steps(&app, By::Key(&caller.call), steps, step).await?;
    let users: Vec<_> = parts.iter().flat_map(Part::users).collect();
    let ids = parts.iter().flat_map(|part| part.messages.iter().map(|(_, id)| part.first.1 + id));
    let ids: Vec<_> = ids.collect();
    let mut named = users.clone();
    named.sort();
    let people = app.db.of(caller.key.id).scan(move |tx| users::people(tx, &named)).await?;
    let messages = users.iter().zip(ids).filter_map(|(user, id)| {
        let at = people.binary_search_by_key(user, |person| person.id).ok()?;
        Some(SystemMessage { user: people[at].clone().into(), id })
    });
    let refused = parts.iter().flat_map(|part| &part.refused);
    let refused = refused.map(|(at, code)| Refused { to: Cow::Borrowed(&written[*at]), code });
    let answer = SystemMessages { messages: messages.collect(), refused: refused.collect() };
    Ok(replayed.mark((StatusCode::CREATED, Json(answer)).into_response()))
}
