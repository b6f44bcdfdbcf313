//! What they were told, for the operator; and telling it once more.

use db::{Tx, params};

use super::{Event, EventId, Kind, WebhookId, find};
use crate::{Cx, Result, Time};

/// How an event stands with an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The endpoint took it then.
    Delivered(Time),
    /// It is tried then, or as soon as possible after it.
    Due(Time),
    /// It is not tried any more.
    GivenUp,
}

/// What an endpoint was told, or is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// Who is told.
    pub webhook: WebhookId,
    /// How often it was tried since it was last asked for.
    pub attempts: i64,
    /// How it stands.
    pub standing: Standing,
    /// What came of the last attempt, in words.
    pub outcome: Option<String>,
}

/// Up to `limit` deliveries, those of the newest events first: of one endpoint or of all, and only
/// what was given up where that is asked for.
pub fn log(
    tx: &mut Tx<'_>,
    webhook: Option<WebhookId>,
    given_up: bool,
    limit: i64,
) -> Result<Vec<Delivery>> {
    Ok(tx.query(
        "SELECT id, kind, happened_at, user_id, message_id, conversation_id, sender_id, receivers,
         client_id, webhook_id, attempts, due_at, delivered_at, outcome
         FROM webhook_deliveries JOIN webhook_events ON id = event_id
         WHERE (?1 = 0 OR webhook_id = ?1)
         AND (?2 = 0 OR (due_at IS NULL AND delivered_at IS NULL))
         ORDER BY event_id DESC, webhook_id LIMIT ?3",
        &params![webhook.map_or(0, WebhookId::get), given_up, limit],
        |row| {
            let (due_at, delivered_at) = (row.opt_int(11)?, row.opt_int(12)?);
            let standing = match (due_at, delivered_at) {
                (Some(due_at), _) => Standing::Due(Time(due_at)),
                (None, Some(delivered_at)) => Standing::Delivered(Time(delivered_at)),
                (None, None) => Standing::GivenUp,
            };
            Ok(Delivery {
                event: Event::read(row)?,
                webhook: WebhookId::stored(row.int(9)?),
                attempts: row.int(10)?,
                standing,
                outcome: row.opt_text(13)?.map(str::to_owned),
            })
        },
    )?)
}

/// What an endpoint is to be told once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// One event.
    Event(EventId),
    /// Everything since then that it is told of now, also what it was not told of then.
    Since(Time),
    /// Everything since then that was given up.
    GivenUp(Time),
}

/// Makes it due again, up to `limit` of it and those after an event. Returns how many that were,
/// and from where to go on, where there may be more.
pub fn replay(
    tx: &mut Tx<'_>,
    cx: &Cx,
    webhook: WebhookId,
    which: Replay,
    (after, limit): (Option<EventId>, i64),
) -> Result<(u64, Option<EventId>)> {
    let kinds = find(tx, webhook)?.map(|endpoint| endpoint.kinds).unwrap_or_default();
    let after = after.map_or(0, EventId::get);
    let event = |row: &db::Row<'_>| Ok((EventId(row.int(0)?), Kind::stored(1, row.int(1)?)?));
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
