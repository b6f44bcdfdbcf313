//! Webhooks: events for the app's own server.
//!
//! An event is a row of the transaction that causes it, so one exists exactly if the other does. It
//! holds ids and times, never the text of a message. Where no endpoint subscribes to its kind
//! ([`Cx::wanted`]), nothing is written.

mod deliveries;
mod endpoints;
mod log;

use db::{Notice, Row, Tx, params};

pub use self::deliveries::{
    DeliveryAttempt, Due, Outcome, RETRIES, distribute, due, has_pending, purge, record,
};
pub use self::endpoints::{
    Endpoint, add, all_wanted, disable, enable, find, list, remove, rotate, take_back_rotation,
};
pub use self::log::{Delivery, DeliveryStatus, Replay, log, replay};
pub use crate::base::event::{EventKind, EventKinds, UnreadCounts};
pub use crate::base::id::{EventId, WebhookId};
use crate::base::id::{join_ids, split_ids};
use crate::base::{ConversationId, Cx, MessageId, Result, Time, UserId};
use crate::outbox::notices;

/// A recorded event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The id.
    pub id: EventId,
    /// Its kind.
    pub kind: EventKind,
    /// When it happened.
    pub happened_at: Time,
    /// Who read the message, whose mailbox it left, or whose account it is.
    pub user: Option<UserId>,
    /// The message and its conversation.
    pub message: Option<(MessageId, ConversationId)>,
    /// Who sent the message.
    pub from: Option<UserId>,
    /// The recipients.
    pub to: Vec<UserId>,
    /// The id that the sending client gave the message.
    pub client_id: Option<String>,
    /// The external ids that these users had when it happened.
    pub external_ids: Vec<(UserId, String)>,
    /// What was unread then, of an event that is about that.
    pub unread: Option<UnreadCounts>,
}

impl Event {
    /// The event's id on the wire: the number, and the time, by which people recognise it.
    pub fn name(&self) -> String {
        format!("evt_{}_{}", self.id.get(), self.happened_at.0)
    }

    /// The number in an event's id on the wire.
    pub fn parse_name(name: &str) -> Option<EventId> {
        let (id, _moment) = name.strip_prefix("evt_")?.split_once('_')?;
        id.parse().ok().and_then(EventId::new)
    }

    /// The external id that one of its users had when it happened.
    pub fn external_id(&self, user: UserId) -> Option<&str> {
        let known = self.external_ids.iter().find(|(known, _)| *known == user);
        known.map(|(_, external_id)| external_id.as_str())
    }

    /// From the first thirteen columns: id, kind, `happened_at`, `user_id`, `message_id`,
    /// `conversation_id`, `sender_id`, `recipients`, `client_id`, `external_ids`, `unread`,
    /// `unread_conversations`, `modseq`.
    fn read(row: &Row<'_>) -> db::Result<Self> {
        let message = row.opt_int(4)?.map(MessageId::stored);
        let conversation = row.opt_int(5)?.map(ConversationId::stored);
        let unread = match (row.opt_int(10)?, row.opt_int(11)?, row.opt_int(12)?) {
            (Some(messages), Some(conversations), Some(modseq)) => {
                Some(UnreadCounts { messages, conversations, modseq })
            }
            _ => None,
        };
        Ok(Self {
            id: EventId::stored(row.int(0)?),
            kind: EventKind::stored(1, row.int(1)?)?,
            happened_at: Time(row.int(2)?),
            user: row.opt_int(3)?.map(UserId::stored),
            message: message.zip(conversation),
            from: row.opt_int(6)?.map(UserId::stored),
            to: row.opt_text(7)?.map(|list| split_ids(list).collect()).unwrap_or_default(),
            client_id: row.opt_text(8)?.map(str::to_owned),
            external_ids: row.opt_text(9)?.map(external_ids).unwrap_or_default(),
            unread,
        })
    }
}

/// What happened, by ids.
#[derive(Default)]
pub(crate) struct Occurrence<'a> {
    /// Who read the message, whose mailbox it left, or whose account it is.
    pub(crate) user: Option<UserId>,
    pub(crate) message: Option<(MessageId, ConversationId)>,
    pub(crate) from: Option<UserId>,
    pub(crate) to: Option<&'a [UserId]>,
    pub(crate) client_id: Option<&'a str>,
    pub(crate) unread: Option<UnreadCounts>,
}

impl Occurrence<'_> {
    /// Something that happened to an account.
    pub(crate) fn user(user: UserId) -> Self {
        Self { user: Some(user), ..Self::default() }
    }
}

/// Users with their external ids, as they are stored: on a line for each, as no external id has a
/// line end.
fn external_ids(lines: &str) -> Vec<(UserId, String)> {
    let known = lines.lines().filter_map(|line| {
        let (user, external_id) = line.split_once(' ')?;
        Some((UserId::stored(user.parse().ok()?), external_id.to_owned()))
    });
    known.collect()
}

/// Records an event, where some endpoint subscribes to its kind.
pub(crate) fn emit(
    tx: &mut Tx<'_>,
    cx: &Cx,
    kind: EventKind,
    event: &Occurrence<'_>,
) -> Result<()> {
    emit_all(tx, cx, kind, std::slice::from_ref(event))
}

/// The same for several events of one kind.
pub(crate) fn emit_all(
    tx: &mut Tx<'_>,
    cx: &Cx,
    kind: EventKind,
    events: &[Occurrence<'_>],
) -> Result<()> {
    if !cx.wanted.webhooks.has(kind) || events.is_empty() {
        return Ok(());
    }
    let lists = events.iter().map(|event| {
        let named =
            event.to.unwrap_or_default().iter().copied().chain(event.user).chain(event.from);
        (event.to.map(join_ids), named.map(UserId::get).collect::<Vec<_>>())
    });
    let lists: Vec<_> = lists.collect();
    let rows = events.iter().zip(&lists).map(|(event, (to, named))| {
        params![
            kind as i64,
            cx.now,
            event.user,
            event.message.map(|(id, _)| id),
            event.message.map(|(_, conversation)| conversation),
            event.from,
            to.as_deref(),
            event.client_id,
            &**named,
            event.unread.map(|then| then.messages),
            event.unread.map(|then| then.conversations),
            event.unread.map(|then| then.modseq)
        ]
    });
    let rows: Vec<_> = rows.collect();
    tx.batch(
        "INSERT INTO webhook_events (kind, happened_at, pending, user_id, message_id,
         conversation_id, sender_id, recipients, client_id, external_ids, unread,
         unread_conversations, modseq)
         VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, (
             SELECT string_agg(id || ' ' || external_id, '\n') FROM users
             WHERE id IN rarray(?9) AND external_id IS NOT NULL),
             ?10, ?11, ?12)",
        &rows,
    )?;
    // One key for all events: of many at once, one notice is enough.
    tx.notify(Notice { topic: notices::WEBHOOK_EVENTS, key: 0 });
    Ok(())
}
