//! The unread counts that follow from a change of an entry.

use db::{Tx, params};

use super::one::Entry;
use crate::base::{Cx, Result, UserId};
use crate::mailbox::conversation_rows;
use crate::outbox::unread_changes;

/// Keeps the counts of the mailbox and of the conversation. Without a `cx`, nobody is told of them.
pub(super) fn recount(
    tx: &mut Tx<'_>,
    cx: Option<&Cx>,
    owner: UserId,
    old: Option<&Entry>,
    new: Option<&Entry>,
) -> Result<()> {
    let messages = new.map_or(0, Entry::unread_count) - old.map_or(0, Entry::unread_count);
    let listed = new.is_some_and(Entry::is_outside_trash);
    let relisted = listed != old.is_some_and(Entry::is_outside_trash);
    let any = new.or(old).expect("an entry is created, changed or removed");
    let conversations = if !any.has_conversation_row {
        messages
    } else if messages != 0 || relisted || new.is_none() {
        let (message, gone, sent) = (any.message, new.is_none(), any.sent);
        let moved = conversation_rows::Moved { message, listed, gone, sent };
        conversation_rows::adjust(tx, owner, any.conversation, messages, &moved)?
    } else {
        0
    };
    if messages != 0 || conversations != 0 {
        tx.execute(
            "UPDATE mailboxes SET unread = unread + ?2,
             unread_conversations = unread_conversations + ?3,
             oldest_unread_at = CASE WHEN ?4 = 1 THEN oldest_unread_at END WHERE owner_id = ?1",
            // A new message is not the oldest, unless its mailbox was advanced as such.
            &params![owner, messages, conversations, old.is_none()],
        )?;
        if let Some(cx) = cx {
            unread_changes::note(tx, cx, &[owner])?;
        }
    }
    Ok(())
}
