//! The unread counts that follow from a change of an entry.

use db::{Tx, params};

use super::one::Entry;
use crate::base::{Cx, Result, UserId};
use crate::mailbox::conversation_rows;
use crate::outbox::unread_changes;

/// Keeps the counts of the mailbox and of the conversation after an entry was marked or moved.
pub(super) fn recount(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    old: &Entry,
    new: &Entry,
) -> Result<()> {
    let messages = new.unread_count() - old.unread_count();
    let listed = new.is_outside_trash();
    let conversations = if !new.has_conversation_row {
        messages
    } else if messages != 0 || listed != old.is_outside_trash() {
        let moved = (new.message, listed);
        conversation_rows::adjust(tx, owner, new.conversation, messages, moved)?
    } else {
        0
    };
    if messages != 0 || conversations != 0 {
        count(tx, &[owner], (messages, conversations))?;
        unread_changes::note(tx, cx, &[owner])?;
    }
    Ok(())
}

/// Adds to the unread counts of some mailboxes, by more than by a new message: which is the oldest
/// that is unread has to be looked for.
pub(super) fn count(
    tx: &mut Tx<'_>,
    owners: &[UserId],
    (messages, conversations): (i64, i64),
) -> Result<()> {
    if owners.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    tx.execute(
        "UPDATE mailboxes SET unread = unread + ?2,
         unread_conversations = unread_conversations + ?3, oldest_unread_at = NULL
         WHERE owner_id IN rarray(?1)",
        &params![&*ids, messages, conversations],
    )?;
    Ok(())
}

/// Counts a reply that was inserted into mailboxes, which were advanced as by a new message.
pub(crate) fn count_reply(tx: &mut Tx<'_>, cx: &Cx, new: &[(UserId, Entry)]) -> Result<()> {
    let mut told = Vec::new();
    for is_sent in [true, false] {
        let those = new.iter().filter(|(_, entry)| entry.sent == is_sent);
        let (owners, entries): (Vec<_>, Vec<_>) = those.copied().unzip();
        let Some(entry) = entries.first() else { continue };
        let is_unread = entry.unread_count() > 0;
        let what = (entry.conversation, entry.message);
        let were_read = conversation_rows::add_message(tx, &owners, what, (is_unread, is_sent))?;
        if !is_unread {
            continue;
        }
        let was_read = |owner: &UserId| were_read.contains(owner);
        let (newly, others): (Vec<_>, Vec<_>) = owners.iter().copied().partition(was_read);
        for (owners, conversations) in [(newly, 1), (others, 0)] {
            count_new(tx, &owners, conversations)?;
        }
        told.extend(owners);
    }
    unread_changes::note(tx, cx, &told)
}

/// Adds a new message to the unread counts of some mailboxes, where it is not the oldest.
fn count_new(tx: &mut Tx<'_>, owners: &[UserId], conversations: i64) -> Result<()> {
    if owners.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    tx.execute(
        "UPDATE mailboxes SET unread = unread + 1,
         unread_conversations = unread_conversations + ?2 WHERE owner_id IN rarray(?1)",
        &params![&*ids, conversations],
    )?;
    Ok(())
}
