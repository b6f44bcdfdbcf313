//! Mailboxes: their counters, whom they take messages from, and the lists of the classic API.

use db::{Tx, params};

use crate::entries::{self, Entry};
use crate::{ConversationId, Cx, MessageId, Result, Time, UserId, envelopes, topics};

/// Advances the counter of a mailbox and with it locks the mailbox; whether there is one.
///
/// What happens in the mailbox next in this transaction has the new value as its number: one
/// message comes, changes or goes, or nothing does. Whoever advances several does it in ascending
/// order of owner, else two could wait for each other.
pub fn advance(tx: &mut Tx<'_>, owner: UserId) -> Result<bool> {
    let advanced = tx.execute(
        "UPDATE mailboxes SET counter = counter + 1 WHERE owner_id = ?1",
        &params![owner],
    )?;
    Ok(told(tx, owner, advanced))
}

/// Whether a counter was advanced; if so, those who follow the mailbox will hear of it.
fn told(tx: &mut Tx<'_>, owner: UserId, advanced: u64) -> bool {
    if advanced == 1 {
        topics::tell(tx, topics::MAILBOX, owner);
    }
    advanced == 1
}

/// Locks the mailbox of an owner before anything of it is looked at, where its counter may not have
/// to move.
pub(crate) fn lock(tx: &mut Tx<'_>, owner: UserId) -> Result<()> {
    tx.lock("SELECT 1 FROM mailboxes WHERE owner_id = ?1 FOR UPDATE", &params![owner])?;
    Ok(())
}

/// Advances the mailbox of a sender; whether it is open. `unread` is what the message adds to the
/// counts of the unread here.
pub(crate) fn advance_open(tx: &mut Tx<'_>, owner: UserId, unread: i64) -> Result<bool> {
    let advanced = tx.execute(
        "UPDATE mailboxes SET counter = counter + 1, unread = unread + ?2,
         unread_conversations = unread_conversations + ?2
         WHERE owner_id = ?1 AND closed_at IS NULL",
        &params![owner, unread],
    )?;
    Ok(told(tx, owner, advanced))
}

/// Whether a mailbox takes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does; its counter was advanced.
    Open,
    /// Its owner is disabled, or takes none from this sender. Which of them is not told.
    Closed,
    /// There is none.
    Absent,
}

/// Advances the mailbox of a receiver where it takes a message from that sender, which may be a
/// reply in a conversation; else it says why not. `unread` is as for the sender.
pub(crate) fn admit(
    tx: &mut Tx<'_>,
    owner: UserId,
    sender: UserId,
    conversation: Option<ConversationId>,
    unread: i64,
) -> Result<Standing> {
    let advanced = tx.execute(
        "UPDATE mailboxes SET counter = counter + 1, unread = unread + ?2,
         unread_conversations = unread_conversations + ?2
         WHERE owner_id = ?1 AND closed_at IS NULL AND accept_from = 0 AND blocks = 0",
        &params![owner, unread],
    )?;
    if told(tx, owner, advanced) {
        return Ok(Standing::Open);
    }
    let guard = tx.query_opt(
        "SELECT closed_at, accept_from, blocks FROM mailboxes WHERE owner_id = ?1",
        &params![owner],
        |row| Ok((row.opt_int(0)?, row.int(1)?, row.int(2)?)),
    )?;
    let Some((closed_at, accept_from, blocks)) = guard else { return Ok(Standing::Absent) };
    if closed_at.is_some() || (blocks > 0 && blocks_user(tx, owner, sender)?) {
        return Ok(Standing::Closed);
    }
    let goes_on = match conversation {
        Some(conversation) => holds_conversation(tx, owner, conversation)?,
        None => false,
    };
    let accepted = match accept_from {
        _ if goes_on => true,
        0 => true,
        1 => knows(tx, owner, sender)?,
        _ => false,
    };
    if accepted && advance_open(tx, owner, unread)? {
        return Ok(Standing::Open);
    }
    Ok(Standing::Closed)
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
    let row = tx.query_opt(
        "SELECT 1 FROM threads WHERE owner_id = ?1 AND conversation_id = ?2",
        &params![owner, conversation],
        |_| Ok(()),
    )?;
    Ok(row.is_some() || entries::single(tx, owner, conversation)?.is_some())
}

/// Conversations that are looked at for a common one, the newest first.
const CIRCLE: i64 = 1000;

/// Whether one has written to the other, or a third has written to both of them: a message to
/// several is a conversation that names them all.
fn knows(tx: &mut Tx<'_>, owner: UserId, other: UserId) -> Result<bool> {
    if has_written(tx, owner, other)? || has_written(tx, other, owner)? {
        return Ok(true);
    }
    let circles = tx.query(
        "SELECT participants FROM threads WHERE owner_id = ?1 AND last_message_id IS NOT NULL
         ORDER BY last_message_id DESC LIMIT ?2",
        &params![owner, CIRCLE],
        |row| Ok(envelopes::ids(row.text(0)?).any(|id| id == other)),
    )?;
    Ok(circles.contains(&true))
}

/// Whether the owner has written to the other.
pub(crate) fn has_written(tx: &mut Tx<'_>, owner: UserId, other: UserId) -> Result<bool> {
    let sql = "SELECT 1 FROM contacts WHERE owner_id = ?1 AND peer_id = ?2";
    Ok(tx.query_opt(sql, &params![owner, other], |_| Ok(()))?.is_some())
}

/// Notes that the owner has written to the other; whether it was for the first time.
pub(crate) fn has_now_written(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    other: UserId,
) -> Result<bool> {
    let noted = tx.execute(
        "INSERT INTO contacts (owner_id, peer_id, first_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (owner_id, peer_id) DO NOTHING",
        &params![owner, other, cx.now],
    )?;
    Ok(noted == 1)
}

/// How much of the inbox is unread, and the counter of the mailbox at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// Messages that are in the inbox and unread.
    pub messages: i64,
    /// Conversations with such a message.
    pub conversations: i64,
    /// The value of the counter.
    pub state: i64,
}

/// How much of the inbox is unread: three numbers of one row. Nobody has nothing.
pub fn unread_counts(tx: &mut Tx<'_>, owner: UserId) -> Result<Unread> {
    let counts = tx.query_opt(
        "SELECT unread, unread_conversations, counter FROM mailboxes WHERE owner_id = ?1",
        &params![owner],
        |row| Ok(Unread { messages: row.int(0)?, conversations: row.int(1)?, state: row.int(2)? }),
    )?;
    Ok(counts.unwrap_or_default())
}

/// The counters of some mailboxes.
pub fn counters(tx: &mut Tx<'_>, owners: &[i64]) -> Result<Vec<(UserId, i64)>> {
    Ok(tx.query(
        "SELECT owner_id, counter FROM mailboxes
         WHERE owner_id IN (SELECT value FROM json_each(?1))",
        &params![owners],
        |row| Ok((UserId::stored(row.int(0)?), row.int(1)?)),
    )?)
}

/// The received messages that are not in the trash, in the order in which they came. Where there
/// are more than `limit`, some of them, so many.
pub fn received(tx: &mut Tx<'_>, owner: UserId, limit: i64) -> Result<Vec<MessageId>> {
    // Places 0 to 7 are the inbox and the archive, where what was only sent may be as well.
    ids(
        tx,
        "SELECT message_id FROM entries
         WHERE owner_id = ?1 AND place BETWEEN 0 AND 7 AND role <> 2 LIMIT ?2",
        owner,
        limit,
    )
}

/// The same for those that the owner has not read.
pub fn unread(tx: &mut Tx<'_>, owner: UserId, limit: i64) -> Result<Vec<MessageId>> {
    ids(
        tx,
        "SELECT message_id FROM entries
         WHERE owner_id = ?1 AND place IN (2, 3, 6, 7) LIMIT ?2",
        owner,
        limit,
    )
}

fn ids(tx: &mut Tx<'_>, sql: &'static str, owner: UserId, limit: i64) -> Result<Vec<MessageId>> {
    let mut ids =
        tx.query(sql, &params![owner, limit], |row| Ok(MessageId::stored(row.int(0)?)))?;
    // A few runs in the order of the key, each ascending.
    ids.sort();
    Ok(ids)
}

/// Marks a received message as read. Repeating it changes nothing, and neither does it where the
/// owner did not receive the message.
pub fn mark_read(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, message: MessageId) -> Result<()> {
    advance(tx, owner)?;
    match entries::find(tx, owner, message)? {
        Some(old) if old.is_unread() => {
            let new = Entry { read_at: Some(cx.now), ..old };
            entries::change(tx, cx, owner, &old, &new)
        }
        _ => Ok(()),
    }
}

/// Takes what has been in the trash for 30 days out of the mailboxes, up to so many entries; how
/// many there were.
pub fn empty_trash(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let before = cx.now.plus(-TRASH_KEPT);
    let mut old = tx.query(
        "SELECT owner_id, message_id FROM trash WHERE trashed_at < ?1
         ORDER BY trashed_at LIMIT ?2",
        &params![before, limit],
        |row| Ok((UserId::stored(row.int(0)?), MessageId::stored(row.int(1)?))),
    )?;
    old.sort();
    for mailbox in old.chunk_by(|(one, _), (next, _)| one == next) {
        lock(tx, mailbox[0].0)?;
    }
    for (owner, message) in &old {
        // It may have been taken out of the trash just before.
        let over = |entry: &Entry| entry.trashed_at.is_some_and(|since| since < before);
        if let Some(entry) = entries::find(tx, *owner, *message)?.filter(over) {
            advance(tx, *owner)?;
            entries::remove(tx, cx, *owner, &entry)?;
            envelopes::let_go(tx, *message, 1)?;
        }
    }
    Ok(old.len() as u64)
}

/// How long a message stays in the trash.
const TRASH_KEPT: i64 = 30 * Time::DAY;

/// Removes up to so many entries of erased users, without a trace; how many there were. Texts that
/// nobody else holds go with them.
pub fn erase_some(tx: &mut Tx<'_>, limit: i64) -> Result<u64> {
    let erased = tx.query_opt(
        "SELECT owner_id FROM erasures ORDER BY owner_id LIMIT 1",
        &params![],
        |row| Ok(UserId::stored(row.int(0)?)),
    )?;
    let Some(owner) = erased else { return Ok(0) };
    advance(tx, owner)?;
    let left = tx.query(
        entries::select_entries!("WHERE owner_id = ?1 LIMIT ?2"),
        &params![owner, limit],
        entries::entry,
    )?;
    for entry in &left {
        entries::drop_entry(tx, owner, entry)?;
        envelopes::let_go(tx, entry.message, 1)?;
    }
    let removed = i64::try_from(left.len()).unwrap_or(i64::MAX);
    if removed < limit {
        tx.execute("DELETE FROM tombstones WHERE owner_id = ?1", &params![owner])?;
        tx.execute("DELETE FROM erasures WHERE owner_id = ?1", &params![owner])?;
    }
    Ok(1 + left.len() as u64)
}
