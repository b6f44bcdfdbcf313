//! Purging: background jobs remove, in small steps, what users were told will be gone.

use db::{Tx, params};

use crate::accounts::modseq;
use crate::base::{Cx, MessageId, Result, Time, UserId};
use crate::mailbox::entries::{self, Entry, select_entries};
use crate::mailbox::envelopes;

const TRASH_KEPT: i64 = 30 * Time::DAY;
const TOMBSTONES_KEPT: i64 = 30 * Time::DAY;

/// Deletes up to `limit` entries that have been in the trash for 30 days. Returns how many were
/// due.
pub fn trash(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let before = cx.now.plus(-TRASH_KEPT);
    let mut due = tx.query(
        "SELECT owner_id, message_id FROM trash WHERE trashed_at < ?1
         ORDER BY trashed_at LIMIT ?2",
        &params![before, limit],
        |row| Ok((UserId::stored(row.int(0)?), MessageId::stored(row.int(1)?))),
    )?;
    due.sort();
    for mailbox in due.chunk_by(|(one, _), (next, _)| one == next) {
        modseq::lock(tx, mailbox[0].0)?;
    }
    for (owner, message) in &due {
        // The owner may just have taken it out of the trash.
        let is_due = |entry: &Entry| entry.trashed_at.is_some_and(|since| since < before);
        if let Some(entry) = entries::find(tx, *owner, *message)?.filter(is_due) {
            modseq::advance(tx, *owner)?;
            entries::remove(tx, cx, *owner, &entry)?;
            envelopes::release(tx, *message, 1)?;
        }
    }
    Ok(due.len() as u64)
}

/// Removes up to `limit` entries of erased users, without tombstones. Returns how many there were.
/// Messages that no other mailbox holds go with them.
pub fn erased_mailboxes(tx: &mut Tx<'_>, limit: i64) -> Result<u64> {
    let erased = tx.query_opt(
        "SELECT owner_id FROM erasures ORDER BY owner_id LIMIT 1",
        &params![],
        |row| Ok(UserId::stored(row.int(0)?)),
    )?;
    let Some(owner) = erased else { return Ok(0) };
    modseq::advance(tx, owner)?;
    let left = tx.query(
        select_entries!("WHERE owner_id = ?1 LIMIT ?2"),
        &params![owner, limit],
        entries::entry,
    )?;
    for entry in &left {
        entries::remove_without_tombstone(tx, owner, entry)?;
        envelopes::release(tx, entry.message, 1)?;
    }
    if i64::try_from(left.len()).is_ok_and(|removed| removed < limit) {
        for statement in [
            "DELETE FROM conversations WHERE owner_id = ?1",
            "DELETE FROM tombstones WHERE owner_id = ?1",
            "DELETE FROM erasures WHERE owner_id = ?1",
        ] {
            tx.execute(statement, &params![owner])?;
        }
    }
    Ok(1 + left.len() as u64)
}

/// Removes up to `limit` tombstones that are older than 30 days. Returns how many there were. A
/// client that last synced before them has to load the mailbox again.
pub fn tombstones(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let mut due = tx.query(
        "SELECT owner_id, modseq, message_id FROM tombstones WHERE destroyed_at < ?1
         ORDER BY destroyed_at LIMIT ?2",
        &params![cx.now.plus(-TOMBSTONES_KEPT), limit],
        |row| Ok((row.int(0)?, row.int(1)?, row.int(2)?)),
    )?;
    due.sort_unstable();
    for mailbox in due.chunk_by(|(one, ..), (next, ..)| one == next) {
        let (owner, last, _) = *mailbox.last().expect("a chunk is not empty");
        // This row is the mailbox's lock, so it comes first, in ascending order of owner.
        tx.execute(
            "UPDATE mailboxes SET purged_modseq = ?2 WHERE owner_id = ?1 AND purged_modseq < ?2",
            &params![owner, last],
        )?;
    }
    let due: Vec<_> = due.iter().map(|(owner, modseq, id)| params![*owner, *modseq, *id]).collect();
    tx.batch(
        "DELETE FROM tombstones WHERE owner_id = ?1 AND modseq = ?2 AND message_id = ?3",
        &due,
    )?;
    Ok(due.len() as u64)
}
