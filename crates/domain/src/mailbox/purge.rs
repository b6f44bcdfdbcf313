//! Purging: background jobs remove, in small steps, what users were told will be gone.

use std::collections::BTreeSet;

use db::{Tx, params};

use crate::accounts::modseq;
use crate::base::{Cx, MessageId, Result, Time, UserId};
use crate::mailbox::entries::{self, Entry, select_entries};
use crate::mailbox::envelopes::{self, BodyPart};

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
            entries::remove(tx, cx, &[(*owner, entry)])?;
            envelopes::release(tx, *message, 1)?;
        }
    }
    Ok(due.len() as u64)
}

/// Removes up to `limit` entries of erased users, without tombstones; and where an erasure
/// withdraws what the user sent, then up to `limit` of these messages from the mailbox of one who
/// got them. Returns how many steps it made. Messages that no other mailbox holds go with them.
pub fn erased_mailboxes(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let erased = tx.query_opt(
        "SELECT owner_id, withdraws FROM erasures ORDER BY owner_id LIMIT 1",
        &params![],
        |row| Ok((UserId::stored(row.int(0)?), row.flag(1)?)),
    )?;
    let Some((owner, withdraws)) = erased else { return Ok(0) };
    // Without a lock on the erased mailbox, as that of a contact may have to be locked before it.
    let is_withdrawn = !withdraws
        || is_empty(tx, owner)?
            && match withdraw(tx, cx, owner, limit)? {
                Some(steps) => return Ok(steps),
                None => true,
            };
    modseq::advance(tx, owner)?;
    let left = tx.query(
        select_entries!("WHERE owner_id = ?1 LIMIT ?2"),
        &params![owner, limit],
        entries::entry,
    )?;
    if withdraws {
        remember_recipients(tx, cx, owner, &left)?;
    }
    for entry in &left {
        entries::remove_untold(tx, &[(owner, *entry)])?;
        envelopes::release(tx, entry.message, 1)?;
    }
    let is_last = i64::try_from(left.len()).is_ok_and(|removed| removed < limit);
    if is_last && is_withdrawn {
        for statement in [
            "DELETE FROM tombstones WHERE owner_id = ?1",
            // Those that were muted.
            "DELETE FROM conversations WHERE owner_id = ?1",
            "DELETE FROM erasures WHERE owner_id = ?1",
        ] {
            tx.execute(statement, &params![owner])?;
        }
    }
    Ok(1 + left.len() as u64)
}

fn is_empty(tx: &mut Tx<'_>, owner: UserId) -> Result<bool> {
    let entry =
        tx.query_opt("SELECT 1 FROM entries WHERE owner_id = ?1 LIMIT 1", &params![owner], |_| {
            Ok(())
        })?;
    Ok(entry.is_none())
}

/// Records as contacts of an erased user all who got one of these messages from them. Those who got
/// others are contacts already, but for a few whom `forget_contacts` has taken for strangers.
fn remember_recipients(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, entries: &[Entry]) -> Result<()> {
    let sent = entries.iter().filter(|entry| entry.sent).map(|entry| entry.message);
    let sent = envelopes::load(tx, sent, BodyPart::Snippet)?;
    let people: BTreeSet<_> = sent.iter().flat_map(|message| message.to.iter().copied()).collect();
    let others = people.into_iter().filter(|person| *person != owner);
    let rows: Vec<_> = others.map(|other| params![owner, other, cx.now]).collect();
    tx.batch(
        "INSERT INTO contacts (owner_id, peer_id, first_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (owner_id, peer_id) DO NOTHING",
        &rows,
    )?;
    Ok(())
}

/// Removes up to `limit` messages of an erased user from the mailbox of the first of their
/// contacts, and the contact with the last of them. Returns how many steps that were; `None` where
/// no contact is left.
fn withdraw(tx: &mut Tx<'_>, cx: &Cx, sender: UserId, limit: i64) -> Result<Option<u64>> {
    let contact = tx.query_opt(
        "SELECT peer_id FROM contacts WHERE owner_id = ?1 ORDER BY peer_id LIMIT 1",
        &params![sender],
        |row| Ok(UserId::stored(row.int(0)?)),
    )?;
    let Some(owner) = contact else { return Ok(None) };
    modseq::lock(tx, owner)?;
    // Where a message has several recipients, its entries do not say who sent it.
    let mut received = Vec::new();
    for sql in [
        "SELECT message_id FROM entries WHERE owner_id = ?1 AND peer_id = ?2 AND role = 1 LIMIT ?3",
        "SELECT message_id FROM entries JOIN messages ON messages.id = message_id
         WHERE owner_id = ?1 AND peer_id IS NULL AND role = 1 AND sender_id = ?2 LIMIT ?3",
    ] {
        received.extend(tx.query(sql, &params![owner, sender, limit], |row| {
            Ok(MessageId::stored(row.int(0)?))
        })?);
    }
    let limit = usize::try_from(limit).unwrap_or_default();
    let is_last = received.len() < limit;
    received.sort();
    received.truncate(limit);
    for message in &received {
        if let Some(entry) = entries::find(tx, owner, *message)? {
            entries::remove(tx, cx, &[(owner, entry)])?;
            envelopes::release(tx, *message, 1)?;
        }
    }
    if is_last {
        tx.execute(
            "DELETE FROM contacts WHERE owner_id = ?1 AND peer_id = ?2",
            &params![sender, owner],
        )?;
    }
    Ok(Some(1 + received.len() as u64))
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
