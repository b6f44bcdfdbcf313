//! Dates that a wrong clock wrote: what is dated in the future would be kept until then, or wait
//! until then. They are set to the time at which that is noticed.
//!
//! What decides how long something is kept is corrected only where it is [`FAR`] in the future: who
//! keeps it a little too long does no harm, but a clock that is behind must not shorten that. What
//! is not listed here is recognised where it is read: leases, throttles, quotas, sessions, browser
//! tokens, and how long something is new.

use db::{Tx, params};

use crate::accounts::modseq;
use crate::base::{Cx, MessageId, Result, Time, UserId};
use crate::mailbox::entries::{self, Entry};
use crate::mailbox::idempotency;
use crate::outbox::known_time::FAR;
use crate::outbox::webhooks;

/// Corrects up to `limit` dates of each kind. Returns how many there were. The clock has to be
/// [near the known time](crate::known_time::is_near).
pub fn correct(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let mut corrected = trash(tx, cx, limit)?;
    for (latest, until, sql) in DATES {
        corrected += tx.execute(sql, &params![cx.now.plus(until), cx.now.plus(latest), limit])?;
    }
    for endpoint in webhooks::list(tx)? {
        corrected += tx.execute(
            "UPDATE webhook_deliveries SET due_at = ?1 WHERE (event_id, webhook_id) IN
             (SELECT event_id, webhook_id FROM webhook_deliveries
              WHERE webhook_id = ?4 AND due_at > ?2 ORDER BY due_at LIMIT ?3)",
            &params![cx.now, cx.now.plus(2 * Time::DAY), limit, endpoint.id],
        )?;
    }
    for (oldest, correct) in LOGS {
        let oldest =
            tx.query(oldest, &params![limit], |row| Ok((row.int(0)?, Time(row.int(1)?))))?;
        let wrong = oldest.iter().filter(|(_, happened_at)| *happened_at > cx.now.plus(FAR));
        let wrong: Vec<_> = wrong.map(|(id, _)| params![*id, cx.now]).collect();
        corrected += tx.batch(correct, &wrong)?;
    }
    Ok(corrected)
}

/// Sets a date of a table to `?1` where it is later than `?2`, in up to `?3` rows, which a key
/// identifies.
macro_rules! correct {
    ($table:literal, $key:literal, $date:literal $(, $which:literal)?) => {
        concat!(
            "UPDATE ", $table, " SET ", $date, " = ?1 WHERE (", $key, ") IN (SELECT ", $key,
            " FROM ", $table, " WHERE ", $($which, " AND ",)? $date, " > ?2 ORDER BY ", $date,
            " LIMIT ?3)"
        )
    };
}

/// How far in the future a date may be, how far it is set otherwise, and how.
const DATES: [(i64, i64, &str); 10] = [
    (FAR, 0, correct!("tombstones", "owner_id, modseq, message_id", "destroyed_at")),
    (
        FAR + idempotency::KEPT,
        idempotency::KEPT,
        correct!("stored_responses", "owner_id, key_hash", "expires_at"),
    ),
    // What they count is over.
    (FAR + Time::DAY, 0, correct!("throttles", "subject", "expires_at")),
    (FAR, 0, correct!("familiar_addresses", "user_id, network_hash", "signed_in_at")),
    (FAR, 0, correct!("reserved_names", "name_hash", "erased_at")),
    (FAR, 0, correct!("revoked_sessions", "user_id, session_hash", "revoked_at")),
    (Time::MINUTE, 0, correct!("unread_changes", "owner_id", "next_at", "pending = 1")),
    // The last attempts to remind are most of a day apart.
    (2 * Time::DAY, 0, correct!("reminders", "owner_id", "waiting_since")),
    (FAR, 0, correct!("users", "id", "updated_at", "coalesce(disabled_at, 0) = 0")),
    (
        FAR,
        0,
        correct!(
            "users",
            "id",
            "updated_at",
            "coalesce(disabled_at, 0) <> 0 AND erased_at IS NULL"
        ),
    ),
];

/// Logs whose oldest rows are purged by their dates: a wrong date would keep all that came later.
const LOGS: [(&str, &str); 2] = [
    (
        "SELECT id, happened_at FROM webhook_events ORDER BY id LIMIT ?1",
        "UPDATE webhook_events SET happened_at = ?2 WHERE id = ?1",
    ),
    (
        "SELECT id, happened_at FROM audit ORDER BY id LIMIT ?1",
        "UPDATE audit SET happened_at = ?2 WHERE id = ?1",
    ),
];

/// Users see when a message was put into the trash, so to correct it is a change in the mailbox.
fn trash(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let mut wrong = tx.query(
        "SELECT owner_id, message_id FROM trash WHERE trashed_at > ?1
         ORDER BY trashed_at LIMIT ?2",
        &params![cx.now.plus(FAR), limit],
        |row| Ok((UserId::stored(row.int(0)?), MessageId::stored(row.int(1)?))),
    )?;
    wrong.sort();
    for mailbox in wrong.chunk_by(|(one, _), (next, _)| one == next) {
        modseq::lock(tx, mailbox[0].0)?;
    }
    for (owner, message) in &wrong {
        // The owner may just have taken it out of the trash.
        let is_wrong = |entry: &Entry| entry.trashed_at.is_some_and(|at| at > cx.now.plus(FAR));
        if let Some(old) = entries::find(tx, *owner, *message)?.filter(is_wrong) {
            modseq::advance(tx, *owner)?;
            let new = Entry { trashed_at: Some(cx.now), ..old };
            entries::change(tx, cx, *owner, &old, &new)?;
        }
    }
    Ok(wrong.len() as u64)
}
