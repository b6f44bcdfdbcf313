//! Deliveries: which endpoint gets which event, when, and with what outcome.

use crate::base::{Cx, EventId, EventKind, Result, Time, WebhookId};
use db::{Tx, params};

use super::Event;
use super::endpoints::{disable, list};

/// The wait after each failed attempt, as in the Standard Webhooks specification. After the last of
/// them the delivery is given up.
pub const RETRIES: [i64; 9] = [
    5 * Time::SECOND,
    5 * Time::MINUTE,
    30 * Time::MINUTE,
    2 * Time::HOUR,
    5 * Time::HOUR,
    10 * Time::HOUR,
    14 * Time::HOUR,
    20 * Time::HOUR,
    24 * Time::HOUR,
];

/// The longest wait that an endpoint's `Retry-After` can ask for.
const LONGEST_RETRY_AFTER: i64 = Time::DAY;

/// Whether an event waits for [`distribute`].
pub fn has_pending(tx: &mut Tx<'_>) -> Result<bool> {
    let waiting = tx.query_opt(
        "SELECT id FROM webhook_events WHERE pending = 1 ORDER BY id LIMIT 1",
        &params![],
        |_| Ok(()),
    )?;
    Ok(waiting.is_some())
}

/// Schedules the deliveries of up to `limit` pending events, one for every enabled endpoint that
/// subscribes to their kind. Returns how many events there were.
pub fn distribute(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<usize> {
    let endpoints = list(tx)?;
    let waiting = tx.query(
        "SELECT id, kind FROM webhook_events WHERE pending = 1 ORDER BY id LIMIT ?1",
        &params![limit],
        |row| Ok((EventId::stored(row.int(0)?), EventKind::stored(1, row.int(1)?)?)),
    )?;
    let mut deliveries = Vec::new();
    for (event, kind) in &waiting {
        let subscribed = endpoints.iter().filter(|to| to.disabled.is_none() && to.kinds.has(*kind));
        deliveries.extend(subscribed.map(|to| params![*event, to.id, cx.now]));
    }
    tx.batch(
        "INSERT INTO webhook_deliveries (event_id, webhook_id, attempts, due_at)
         VALUES (?1, ?2, 0, ?3) ON CONFLICT (event_id, webhook_id) DO NOTHING",
        &deliveries,
    )?;
    let distributed: Vec<_> = waiting.iter().map(|(event, _)| params![*event]).collect();
    tx.batch("UPDATE webhook_events SET pending = 0 WHERE id = ?1", &distributed)?;
    Ok(waiting.len())
}

/// A delivery that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The event.
    pub event: Event,
    /// How many attempts were made before.
    pub attempts: i64,
}

/// Up to `limit` deliveries that an endpoint is due, the longest due first.
pub fn due(tx: &mut Tx<'_>, cx: &Cx, webhook: WebhookId, limit: i64) -> Result<Vec<Due>> {
    Ok(tx.query(
        "SELECT id, kind, happened_at, user_id, message_id, conversation_id, sender_id, recipients,
         client_id, external_ids, unread, unread_conversations, modseq, attempts
         FROM webhook_deliveries JOIN webhook_events ON id = event_id
         WHERE webhook_id = ?1 AND due_at <= ?2 ORDER BY due_at, event_id LIMIT ?3",
        &params![webhook, cx.now, limit],
        |row| Ok(Due { event: Event::read(row)?, attempts: row.int(13)? }),
    )?)
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint accepted the event.
    Delivered,
    /// It did not; it may have asked to wait that many microseconds.
    Failed(Option<i64>),
    /// It answered 410 and wants no further events.
    Gone,
}

/// A finished attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// The endpoint.
    pub webhook: WebhookId,
    /// The event.
    pub event: EventId,
    /// How many attempts were made before.
    pub attempts: i64,
    /// The outcome.
    pub outcome: Outcome,
    /// The outcome in words, for the log.
    pub words: String,
}

impl DeliveryAttempt {
    fn due_at(&self, cx: &Cx) -> Option<Time> {
        let Outcome::Failed(asked) = self.outcome else { return None };
        let next = RETRIES.get(usize::try_from(self.attempts).unwrap_or(usize::MAX))?;
        let next = (*next).max(asked.unwrap_or_default().clamp(0, LONGEST_RETRY_AFTER));
        // Up to a tenth later, so that what failed together is not retried together.
        let [chance] = cx.random::<1>();
        Some(cx.now.plus(next + next / 10 * i64::from(chance) / 255))
    }
}

/// Records the outcomes of attempts, and disables endpoints that are gone.
pub fn record(tx: &mut Tx<'_>, cx: &Cx, attempts: &[DeliveryAttempt]) -> Result<()> {
    let row = |made: &'_ DeliveryAttempt| {
        let delivered = made.outcome == Outcome::Delivered;
        (made.due_at(cx), delivered.then_some(cx.now))
    };
    let times: Vec<_> = attempts.iter().map(row).collect();
    let rows: Vec<_> = attempts
        .iter()
        .zip(&times)
        .map(|(made, (due_at, delivered_at))| {
            let words = made.words.as_str();
            params![made.event, made.webhook, *due_at, cx.now, *delivered_at, words]
        })
        .collect();
    tx.batch(
        "UPDATE webhook_deliveries SET attempts = attempts + 1, due_at = ?3, tried_at = ?4,
         delivered_at = ?5, outcome = ?6 WHERE event_id = ?1 AND webhook_id = ?2",
        &rows,
    )?;
    for gone in attempts.iter().filter(|made| made.outcome == Outcome::Gone) {
        disable(tx, cx, gone.webhook, "it answered 410 Gone")?;
    }
    Ok(())
}

/// Removes up to `limit` of the oldest events that happened more than `kept` microseconds ago, with
/// their deliveries, whatever their outcome. Returns how many there were.
pub fn purge(tx: &mut Tx<'_>, cx: &Cx, kept: i64, limit: i64) -> Result<u64> {
    let oldest = tx.query(
        "SELECT id, happened_at FROM webhook_events ORDER BY id LIMIT ?1",
        &params![limit],
        |row| Ok((EventId::stored(row.int(0)?), Time(row.int(1)?))),
    )?;
    let before = cx.now.plus(-kept);
    let due = oldest.iter().take_while(|(_, happened_at)| *happened_at < before);
    let due: Vec<_> = due.map(|(event, _)| params![*event]).collect();
    tx.batch("DELETE FROM webhook_deliveries WHERE event_id = ?1", &due)?;
    Ok(tx.batch("DELETE FROM webhook_events WHERE id = ?1", &due)?)
}
