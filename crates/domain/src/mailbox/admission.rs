//! Admission: whether a mailbox takes a message from a sender.

use db::{Tx, params};

use crate::accounts::modseq;
use crate::accounts::users::AcceptFrom;
use crate::base::id::split_ids;
use crate::base::{ConversationId, Cx, Result, UserId};
use crate::mailbox::{conversation_rows, entries};

/// Advances the modseq of a mailbox that is open, adding `unread` to its unread counts. Returns
/// whether it is open.
pub(crate) fn advance_open(tx: &mut Tx<'_>, owner: UserId, unread: i64) -> Result<bool> {
    let advanced = tx.execute(
        "UPDATE mailboxes SET modseq = modseq + 1, unread = unread + ?2,
         unread_conversations = unread_conversations + ?2
         WHERE owner_id = ?1 AND closed_at IS NULL",
        &params![owner, unread],
    )?;
    Ok(modseq::notify(tx, owner, advanced))
}

/// Whether a mailbox takes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It does; its modseq was advanced.
    Accepted,
    /// Its owner is disabled, or accepts none from this sender, who is not told which.
    Refused,
    /// There is no such mailbox.
    NoMailbox,
}

/// Advances a recipient's mailbox where it takes a message from `sender`. The message may be
/// a reply in a `conversation`. `unread` is what the message adds to the unread counts.
pub(crate) fn admit(
    tx: &mut Tx<'_>,
    owner: UserId,
    sender: UserId,
    conversation: Option<ConversationId>,
    unread: i64,
) -> Result<Admission> {
    // Most mailboxes take everything: for them the conditions are part of the one statement.
    let advanced = tx.execute(
        "UPDATE mailboxes SET modseq = modseq + 1, unread = unread + ?2,
         unread_conversations = unread_conversations + ?2
         WHERE owner_id = ?1 AND closed_at IS NULL AND accept_from = 0 AND blocks = 0",
        &params![owner, unread],
    )?;
    if modseq::notify(tx, owner, advanced) {
        return Ok(Admission::Accepted);
    }
    let rules = tx.query_opt(
        "SELECT closed_at, accept_from, blocks FROM mailboxes WHERE owner_id = ?1",
        &params![owner],
        |row| Ok((row.opt_int(0)?, AcceptFrom::stored(1, row.int(1)?)?, row.int(2)?)),
    )?;
    let Some((closed_at, accept_from, blocks)) = rules else { return Ok(Admission::NoMailbox) };
    if closed_at.is_some() || (blocks > 0 && blocks_user(tx, owner, sender)?) {
        return Ok(Admission::Refused);
    }
    let is_reply = match conversation {
        Some(conversation) => holds_conversation(tx, owner, conversation)?,
        None => false,
    };
    let accepted = match accept_from {
        _ if is_reply => true,
        AcceptFrom::Everyone => true,
        AcceptFrom::Known => knows(tx, owner, sender)?,
        AcceptFrom::Nobody => false,
    };
    if accepted && advance_open(tx, owner, unread)? {
        return Ok(Admission::Accepted);
    }
    Ok(Admission::Refused)
}

fn blocks_user(tx: &mut Tx<'_>, owner: UserId, other: UserId) -> Result<bool> {
    let sql = "SELECT 1 FROM blocks WHERE owner_id = ?1 AND blocked_id = ?2";
    Ok(tx.query_opt(sql, &params![owner, other], |_| Ok(()))?.is_some())
}

/// Whether a mailbox holds a message of the conversation.
pub(crate) fn holds_conversation(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
) -> Result<bool> {
    Ok(conversation_rows::exists(tx, owner, conversation)?
        || entries::single(tx, owner, conversation)?.is_some())
}

/// How many of the newest conversations are searched for one that both are in.
const CONVERSATIONS_SEARCHED: i64 = 1000;

/// Whether one has written to the other, or a third person has written to both of them, so that a
/// conversation names both as participants.
fn knows(tx: &mut Tx<'_>, owner: UserId, other: UserId) -> Result<bool> {
    if has_written(tx, owner, other)? || has_written(tx, other, owner)? {
        return Ok(true);
    }
    let shared = tx.query(
        "SELECT participants FROM conversations
         WHERE owner_id = ?1 AND last_message_id IS NOT NULL
         ORDER BY last_message_id DESC LIMIT ?2",
        &params![owner, CONVERSATIONS_SEARCHED],
        |row| Ok(split_ids(row.text(0)?).any(|id| id == other)),
    )?;
    Ok(shared.contains(&true))
}

pub(crate) fn has_written(tx: &mut Tx<'_>, owner: UserId, other: UserId) -> Result<bool> {
    let sql = "SELECT 1 FROM contacts WHERE owner_id = ?1 AND peer_id = ?2";
    Ok(tx.query_opt(sql, &params![owner, other], |_| Ok(()))?.is_some())
}

/// Records that the owner has written to the other. Returns whether that was the first time.
pub(crate) fn record_contact(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    other: UserId,
) -> Result<bool> {
    let recorded = tx.execute(
        "INSERT INTO contacts (owner_id, peer_id, first_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (owner_id, peer_id) DO NOTHING",
        &params![owner, other, cx.now],
    )?;
    Ok(recorded == 1)
}
