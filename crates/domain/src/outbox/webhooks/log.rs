//! The log of deliveries for the operator, and replaying them.

use crate::base::{Cx, EventId, EventKind, Result, Time, WebhookId};
use db::{Tx, params};

use super::Event;
use super::endpoints::find;

/// The status of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// The endpoint accepted it at that time.
    Delivered(Time),
    /// The next attempt is due at that time.
    Due(Time),
    /// There will be no further attempt.
    GivenUp,
}

/// A delivery of an event to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// The endpoint.
    pub webhook: WebhookId,
    /// Attempts since it was created or last replayed.
    pub attempts: i64,
    /// Its status.
    pub status: DeliveryStatus,
    /// The outcome of the last attempt, in words.
    pub outcome: Option<String>,
}

/// Up to `limit` deliveries of one endpoint or of all, newest events first; only those that were
/// given up where `given_up` is set.
pub fn log(
    tx: &mut Tx<'_>,
    webhook: Option<WebhookId>,
    given_up: bool,
    limit: i64,
) -> Result<Vec<Delivery>> {
    Ok(tx.query(
        "SELECT id, kind, happened_at, user_id, message_id, conversation_id, sender_id, recipients,
         client_id, external_ids, unread, unread_conversations, modseq, webhook_id, attempts,
         due_at, delivered_at, outcome
         FROM webhook_deliveries JOIN webhook_events ON id = event_id
         WHERE (?1 = 0 OR webhook_id = ?1)
         AND (?2 = 0 OR (due_at IS NULL AND delivered_at IS NULL))
         ORDER BY event_id DESC, webhook_id LIMIT ?3",
        &params![webhook.map_or(0, WebhookId::get), given_up, limit],
        |row| {
            let (due_at, delivered_at) = (row.opt_int(15)?, row.opt_int(16)?);
            let status = match (due_at, delivered_at) {
                (Some(due_at), _) => DeliveryStatus::Due(Time(due_at)),
                (None, Some(delivered_at)) => DeliveryStatus::Delivered(Time(delivered_at)),
                (None, None) => DeliveryStatus::GivenUp,
            };
            Ok(Delivery {
                event: Event::read(row)?,
                webhook: WebhookId::stored(row.int(13)?),
                attempts: row.int(14)?,
                status,
                outcome: row.opt_text(17)?.map(str::to_owned),
            })
        },
    )?)
}

/// What to deliver again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// One event.
    Event(EventId),
    /// All events since then that the endpoint subscribes to now, including those it did not get.
    Since(Time),
    /// All events since then whose delivery was given up.
    GivenUp(Time),
}

/// Makes up to `limit` deliveries due again, those of events after `after`. Returns how many they
/// were, and after which event to continue where there may be more.
pub fn replay(
    tx: &mut Tx<'_>,
    cx: &Cx,
    webhook: WebhookId,
    which: Replay,
    (after, limit): (Option<EventId>, i64),
) -> Result<(u64, Option<EventId>)> {
    let kinds = find(tx, webhook)?.map(|endpoint| endpoint.kinds).unwrap_or_default();
    let after = after.map_or(0, EventId::get);
    let event =
        |row: &db::Row<'_>| Ok((EventId::stored(row.int(0)?), EventKind::stored(1, row.int(1)?)?));
    let mut found = match which {
        Replay::Event(id) => {
            tx.query("SELECT id, kind FROM webhook_events WHERE id = ?1", &params![id], event)?
        }
        Replay::Since(since) => tx.query(
            "SELECT id, kind FROM webhook_events WHERE id > ?1 AND happened_at >= ?2
             ORDER BY id LIMIT ?3",
            &params![after, since, limit],
            event,
        )?,
        Replay::GivenUp(since) => tx.query(
            "SELECT id, kind FROM webhook_events JOIN webhook_deliveries ON event_id = id
             WHERE id > ?1 AND happened_at >= ?2 AND webhook_id = ?3
             AND due_at IS NULL AND delivered_at IS NULL ORDER BY id LIMIT ?4",
            &params![after, since, webhook, limit],
            event,
        )?,
    };
    let full = usize::try_from(limit).is_ok_and(|limit| found.len() == limit);
    let next = found.last().filter(|_| full).map(|(event, _)| *event);
    if let Replay::Since(_) = which {
        found.retain(|(_, kind)| kinds.has(*kind));
    }
    let rows: Vec<_> = found.iter().map(|(event, _)| params![*event, webhook, cx.now]).collect();
    let again = tx.batch(
        "INSERT INTO webhook_deliveries (event_id, webhook_id, attempts, due_at)
         VALUES (?1, ?2, 0, ?3)
         ON CONFLICT (event_id, webhook_id)
         DO UPDATE SET attempts = 0, due_at = ?3, delivered_at = NULL",
        &rows,
    )?;
    Ok((again, next.filter(|_| !matches!(which, Replay::Event(_)))))
}
