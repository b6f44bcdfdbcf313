//! The removal of a message from mailboxes.

use std::collections::BTreeMap;

use db::{Tx, params};

use super::counts::count;
use super::one::Entry;
use super::{event, find_in};
use crate::accounts::modseq;
use crate::base::{Cx, EventKind, MessageId, Result, UserId};
use crate::mailbox::conversation_rows::{self, Left};
use crate::outbox::{unread_changes, webhooks};

/// Advances the modseqs of locked mailboxes, removes a message from each, and leaves tombstones.
pub(crate) fn remove(tx: &mut Tx<'_>, cx: &Cx, held: &[(UserId, Entry)]) -> Result<()> {
    let owners: Vec<_> = held.iter().map(|(owner, _)| *owner).collect();
    modseq::advance_all(tx, &owners)?;
    let rows = held
        .iter()
        .map(|(owner, entry)| params![*owner, entry.message, entry.created_modseq, cx.now]);
    tx.batch(
        "INSERT INTO tombstones (owner_id, modseq, message_id, created_modseq, destroyed_at)
         SELECT owner_id, modseq, ?2, ?3, ?4 FROM mailboxes WHERE owner_id = ?1",
        &rows.collect::<Vec<_>>(),
    )?;
    if cx.wanted.webhooks.has(EventKind::MessageDestroyed) {
        let events = held.iter().map(|(owner, entry)| event(tx, *owner, entry));
        let events = events.collect::<Result<Vec<_>>>()?;
        webhooks::emit_all(tx, cx, EventKind::MessageDestroyed, &events)?;
    }
    let (recounted, left) = remove_rows(tx, held)?;
    unread_changes::note(tx, cx, &recounted)?;
    report_conversations(tx, &left)
}

/// Removes a message from mailboxes of erased users, which nobody syncs any more.
pub(crate) fn remove_untold(tx: &mut Tx<'_>, held: &[(UserId, Entry)]) -> Result<()> {
    remove_rows(tx, held).map(drop)
}

/// Removes the entries of a message and keeps the counts. Returns in which mailboxes these have
/// changed, and what is left of its conversation where that has a row.
fn remove_rows(tx: &mut Tx<'_>, held: &[(UserId, Entry)]) -> Result<(Vec<UserId>, Vec<Left>)> {
    let rows: Vec<_> =
        held.iter().map(|(owner, entry)| params![*owner, entry.place(), entry.message]).collect();
    tx.batch("DELETE FROM entries WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3", &rows)?;
    let trashed = held.iter().filter(|(_, entry)| entry.trashed_at.is_some());
    let trashed: Vec<_> = trashed.map(|(owner, entry)| params![*owner, entry.message]).collect();
    tx.batch("DELETE FROM trash WHERE owner_id = ?1 AND message_id = ?2", &trashed)?;
    if let Some((_, sent)) = held.iter().find(|(_, entry)| entry.sent) {
        // Only the sender sees it, and they have no copy any more.
        tx.execute(
            "UPDATE messages SET client_id = NULL WHERE id = ?1 AND client_id IS NOT NULL",
            &params![sent.message],
        )?;
    }
    let of_rows = held.iter().filter(|(_, entry)| entry.has_conversation_row);
    let of_rows: Vec<_> =
        of_rows.map(|(owner, entry)| (*owner, entry.unread_count(), entry.sent)).collect();
    let left = match held.iter().find(|(_, entry)| entry.has_conversation_row) {
        Some((_, entry)) => {
            let what = (entry.conversation, entry.message);
            conversation_rows::remove_message(tx, what, &of_rows)?
        }
        None => vec![],
    };
    let is_read = |owner: &UserId| left.iter().any(|left| left.owner == *owner && left.is_read);
    let mut recounted: BTreeMap<i64, Vec<UserId>> = BTreeMap::new();
    for (owner, entry) in held.iter().filter(|(_, entry)| entry.unread_count() > 0) {
        let conversations = i64::from(!entry.has_conversation_row || is_read(owner));
        recounted.entry(conversations).or_default().push(*owner);
    }
    for (conversations, owners) in &recounted {
        count(tx, owners, (-1, -conversations))?;
    }
    Ok((recounted.into_values().flatten().collect(), left))
}

/// Counts the newest message of a conversation as changed after one of them was removed.
///
/// A client may never have known that message, or may not know that it was read or moved to the
/// trash before: the tombstone hides that, and names no conversation.
fn report_conversations(tx: &mut Tx<'_>, left: &[Left]) -> Result<()> {
    let mut newest: BTreeMap<MessageId, Vec<UserId>> = BTreeMap::new();
    for Left { owner, last, .. } in left {
        if let Some(last) = last {
            newest.entry(*last).or_default().push(*owner);
        }
    }
    for (message, owners) in newest {
        let held = find_in(tx, &owners, message)?;
        modseq::advance_all(tx, &owners)?;
        // By its place: by its conversation, SQLite looks at all that the owner has.
        let rows: Vec<_> =
            held.iter().map(|(owner, entry)| params![*owner, entry.place(), message]).collect();
        tx.batch(
            "UPDATE entries
             SET changed_modseq = (SELECT modseq FROM mailboxes WHERE owner_id = ?1)
             WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
            &rows,
        )?;
    }
    Ok(())
}
