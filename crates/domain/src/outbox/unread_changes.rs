//! Whose unread counts have changed: for the event `unread.changed`, of which a user causes at most
//! one in 5 seconds.
//!
//! A row says that something is to be told (it is pending), or that something was told less than 5
//! seconds ago. The counts are read when they are told, so the last ones always are.

use db::{Notice, Tx, params};

use crate::base::{Cx, EventKind, Result, Time, UserId};
use crate::outbox::notices;

/// The least time between two events about one user.
const PAUSE: i64 = 5 * Time::SECOND;

/// Notes that the unread counts of these mailboxes have changed, under their locks. Where no
/// webhook wants to know, nothing is written.
pub(crate) fn note(tx: &mut Tx<'_>, cx: &Cx, owners: &[UserId]) -> Result<()> {
    if !cx.wanted.webhooks.has(EventKind::UnreadChanged) {
        return Ok(());
    }
    let mut owners = owners.to_vec();
    // Ascending, as the mailboxes were locked: other transactions may do the same.
    owners.sort();
    let rows: Vec<_> = owners.iter().map(|owner| params![*owner, cx.now]).collect();
    let noted = tx.batch(
        "INSERT INTO unread_changes (owner_id, next_at, pending) VALUES (?1, ?2, 1)
         ON CONFLICT (owner_id) DO UPDATE SET pending = 1 WHERE unread_changes.pending = 0",
        &rows,
    )?;
    if noted > 0 {
        tx.notify(Notice { topic: notices::WEBHOOK_EVENTS, key: 0 });
    }
    Ok(())
}

/// Takes up to `limit` of those who are to be told of now, ascending. Their counts are to be read
/// after that: who changes them later waits for this transaction and is noted again.
pub(crate) fn take(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<Vec<UserId>> {
    let mut owners = tx.query(
        "SELECT owner_id FROM unread_changes WHERE pending = 1 AND next_at <= ?1
         ORDER BY next_at LIMIT ?2",
        &params![cx.now, limit],
        |row| Ok(UserId::stored(row.int(0)?)),
    )?;
    owners.sort();
    let rows: Vec<_> = owners.iter().map(|owner| params![*owner, cx.now.plus(PAUSE)]).collect();
    tx.batch("UPDATE unread_changes SET pending = 0, next_at = ?2 WHERE owner_id = ?1", &rows)?;
    Ok(owners)
}

/// Whether somebody is to be told of now.
pub(crate) fn is_due(tx: &mut Tx<'_>, cx: &Cx) -> Result<bool> {
    let due = tx.query_opt(
        "SELECT owner_id FROM unread_changes WHERE pending = 1 AND next_at <= ?1 LIMIT 1",
        &params![cx.now],
        |_| Ok(()),
    )?;
    Ok(due.is_some())
}

/// Removes up to `limit` rows of users of whom was told long enough ago. Returns how many.
pub(crate) fn purge(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let mut owners = tx.query(
        "SELECT owner_id FROM unread_changes WHERE pending = 0 AND next_at <= ?1
         ORDER BY next_at LIMIT ?2",
        &params![cx.now, limit],
        |row| row.int(0),
    )?;
    owners.sort_unstable();
    let rows: Vec<_> = owners.iter().map(|owner| params![*owner, cx.now]).collect();
    // Something may have changed again since.
    Ok(tx.batch(
        "DELETE FROM unread_changes WHERE owner_id = ?1 AND pending = 0 AND next_at <= ?2",
        &rows,
    )?)
}
