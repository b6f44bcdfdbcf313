//! Telling them: who is to be told of what, when, and what came of it.

use db::{Tx, params};

use super::{Event, EventId, Kind, WebhookId, disable, list};
use crate::{Cx, Result, Time};

/// How long it waits after each attempt that failed, as Standard Webhooks has it. After the last
/// of them it is given up.
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

/// An endpoint that asks for patience is given so much at most.
const PATIENCE: i64 = Time::DAY;

/// Whether an event waits for [`distribute`].
pub fn is_waiting(tx: &mut Tx<'_>) -> Result<bool> {
    let waiting = tx.query_opt(
        "SELECT id FROM webhook_events WHERE waits = 1 ORDER BY id LIMIT 1",
        &params![],
        |_| Ok(()),
    )?;
    Ok(waiting.is_some())
}

/// Gives up to `limit` events that wait to every enabled endpoint that is told of their kind; how
/// many there were.
pub fn distribute(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<usize> {
    let endpoints = list(tx)?;
    let waiting = tx.query(
        "SELECT id, kind FROM webhook_events WHERE waits = 1 ORDER BY id LIMIT ?1",
        &params![limit],
        |row| Ok((EventId(row.int(0)?), Kind::stored(1, row.int(1)?)?)),
    )?;
    let mut deliveries = Vec::new();
    for (event, kind) in &waiting {
        let told = endpoints.iter().filter(|to| to.disabled.is_none() && to.kinds.has(*kind));
        deliveries.extend(told.map(|to| params![*event, to.id, cx.now]));
    }
    tx.batch(
        "INSERT INTO webhook_deliveries (event_id, webhook_id, attempts, due_at)
         VALUES (?1, ?2, 0, ?3) ON CONFLICT (event_id, webhook_id) DO NOTHING",
        &deliveries,
    )?;
    let given: Vec<_> = waiting.iter().map(|(event, _)| params![*event]).collect();
    tx.batch("UPDATE webhook_events SET waits = 0 WHERE id = ?1", &given)?;
    Ok(waiting.len())
}

/// An event that an endpoint is to be told of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The event.
    pub event: Event,
    /// How often it was tried before.
    pub attempts: i64,
}

/// Up to `limit` events that an endpoint is to be told of now, what is due longest first.
pub fn due(tx: &mut Tx<'_>, cx: &Cx, webhook: WebhookId, limit: i64) -> Result<Vec<Due>> {
    Ok(tx.query(
        "SELECT id, kind, happened_at, user_id, message_id, conversation_id, sender_id, receivers,
         client_id, attempts
         FROM webhook_deliveries JOIN webhook_events ON id = event_id
         WHERE webhook_id = ?1 AND due_at <= ?2 ORDER BY due_at, event_id LIMIT ?3",
        &params![webhook, cx.now, limit],
        |row| Ok(Due { event: Event::read(row)?, attempts: row.int(9)? }),
    )?)
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint took it.
    Delivered,
    /// It did not, and may have said for how many microseconds it wants to be left alone.
    Failed(Option<i64>),
    /// It wants to hear nothing any more.
    Gone,
}

/// An attempt that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Who was told.
    pub webhook: WebhookId,
    /// Of what.
    pub event: EventId,
    /// How often it was tried before.
    pub attempts: i64,
    /// What came of it.
    pub outcome: Outcome,
    /// The same in words, for the log.
    pub words: String,
}

impl Attempt {
    /// When it is tried again.
    fn due_at(&self, cx: &Cx) -> Option<Time> {
        let Outcome::Failed(asked) = self.outcome else { return None };
        let next = RETRIES.get(usize::try_from(self.attempts).unwrap_or(usize::MAX))?;
        let next = (*next).max(asked.unwrap_or_default().clamp(0, PATIENCE));
        // Up to a tenth later, so that what failed together does not come back together.
        let [chance] = cx.random::<1>();
        Some(cx.now.plus(next + next / 10 * i64::from(chance) / 255))
    }
}

/// Writes down what came of attempts. Who is gone is disabled.
pub fn record(tx: &mut Tx<'_>, cx: &Cx, attempts: &[Attempt]) -> Result<()> {
    let row = |made: &'_ Attempt| {
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

/// Forgets up to `limit` of the oldest events that happened more than `kept` microseconds ago,
/// whatever came of them; how many there were.
pub fn sweep(tx: &mut Tx<'_>, cx: &Cx, kept: i64, limit: i64) -> Result<u64> {
    let oldest = tx.query(
        "SELECT id, happened_at FROM webhook_events ORDER BY id LIMIT ?1",
        &params![limit],
        |row| Ok((EventId(row.int(0)?), Time(row.int(1)?))),
    )?;
    let before = cx.now.plus(-kept);
    let over = oldest.iter().take_while(|(_, happened_at)| *happened_at < before);
    let over: Vec<_> = over.map(|(event, _)| params![*event]).collect();
    tx.batch("DELETE FROM webhook_deliveries WHERE event_id = ?1", &over)?;
    Ok(tx.batch("DELETE FROM webhook_events WHERE id = ?1", &over)?)
}
