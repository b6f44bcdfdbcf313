//! Mailboxes: their counters, and the entries that say what is in them.

use db::{Tx, params};

use crate::{Cx, MessageId, Result, Time, UserId};

/// How long a mailbox remembers what is gone from it.
const TOMBSTONE_KEPT: i64 = 30 * Time::DAY;

/// Whether a mailbox takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does; its counter was advanced.
    Open,
    /// Its owner is disabled.
    Closed,
    /// There is none.
    Absent,
}

/// Advances the counter of a mailbox and with it locks the mailbox; whether there is one.
///
/// What happens in the mailbox next in this transaction has the new value as its number. Whoever
/// advances two does it by [`both`], in ascending order of owner, else two could wait for each
/// other.
pub fn advance(tx: &mut Tx<'_>, owner: UserId) -> Result<bool> {
    let advanced = tx.execute(
        "UPDATE mailboxes SET counter = counter + 1 WHERE owner_id = ?1",
        &params![owner],
    )?;
    Ok(advanced == 1)
}

/// Advances the counter of a mailbox where it takes messages; else it says why not.
pub fn advance_open(tx: &mut Tx<'_>, owner: UserId) -> Result<Standing> {
    let advanced = tx.execute(
        "UPDATE mailboxes SET counter = counter + 1 WHERE owner_id = ?1 AND closed_at IS NULL",
        &params![owner],
    )?;
    if advanced == 1 {
        return Ok(Standing::Open);
    }
    let there =
        tx.query_opt("SELECT 1 FROM mailboxes WHERE owner_id = ?1", &params![owner], |_| Ok(()))?;
    Ok(there.map_or(Standing::Absent, |()| Standing::Closed))
}

/// Advances two mailboxes in ascending order, or the one where both are the same.
pub fn both<T: Copy>(
    tx: &mut Tx<'_>,
    one: UserId,
    other: UserId,
    advance: fn(&mut Tx<'_>, UserId) -> Result<T>,
) -> Result<(T, T)> {
    let lower = advance(tx, one.min(other))?;
    let higher = if one == other { lower } else { advance(tx, one.max(other))? };
    Ok(if one <= other { (lower, higher) } else { (higher, lower) })
}

/// What a mailbox says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The owner received it.
    pub received: bool,
    /// The owner received it and has not read it.
    pub unread: bool,
    /// The owner sent it.
    pub sent: bool,
    /// When the owner read it.
    pub read_at: Option<Time>,
}

/// Where an entry may stand in the key, the likeliest first: (received, unread).
const PLACES: [(bool, bool); 3] = [(true, false), (true, true), (false, false)];

/// What the mailbox of the owner says of a message; `None` where it does not hold it.
pub fn entry(tx: &mut Tx<'_>, owner: UserId, message: MessageId) -> Result<Option<Entry>> {
    for (received, unread) in PLACES {
        let found = tx.query_opt(
            "SELECT sent, read_at FROM entries
             WHERE owner_id = ?1 AND received = ?2 AND unread = ?3 AND message_id = ?4",
            &params![owner, received, unread, message],
            |row| {
                let (sent, read_at) = (row.flag(0)?, row.opt_int(1)?.map(Time));
                Ok(Entry { received, unread, sent, read_at })
            },
        )?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Puts a message into the mailboxes of its sender and its receiver, which may be the same. Both
/// were advanced.
pub(crate) fn deliver(
    tx: &mut Tx<'_>,
    message: MessageId,
    sender: UserId,
    receiver: UserId,
) -> Result<()> {
    const INSERT: &str = "INSERT INTO entries
         (owner_id, message_id, received, unread, sent, created_seq, changed_seq)
         VALUES (?1, ?2, ?3, ?3, ?4, (SELECT counter FROM mailboxes WHERE owner_id = ?1),
                 (SELECT counter FROM mailboxes WHERE owner_id = ?1))";
    if sender == receiver {
        tx.execute(INSERT, &params![sender, message, true, true])?;
    } else {
        let own = params![sender, message, false, true];
        let theirs = params![receiver, message, true, false];
        tx.batch(INSERT, &[own, theirs])?;
    }
    Ok(())
}

/// Up to `limit` received messages in the order in which they came.
pub fn received(tx: &mut Tx<'_>, owner: UserId, limit: i64) -> Result<Vec<MessageId>> {
    ids(
        tx,
        "SELECT message_id FROM entries WHERE owner_id = ?1 AND received = 1 AND unread = 0
         UNION ALL
         SELECT message_id FROM entries WHERE owner_id = ?1 AND received = 1 AND unread = 1
         ORDER BY message_id LIMIT ?2",
        owner,
        limit,
    )
}

/// The same for those that the owner has not read.
pub fn unread(tx: &mut Tx<'_>, owner: UserId, limit: i64) -> Result<Vec<MessageId>> {
    ids(
        tx,
        "SELECT message_id FROM entries WHERE owner_id = ?1 AND received = 1 AND unread = 1
         ORDER BY message_id LIMIT ?2",
        owner,
        limit,
    )
}

fn ids(tx: &mut Tx<'_>, sql: &'static str, owner: UserId, limit: i64) -> Result<Vec<MessageId>> {
    Ok(tx.query(sql, &params![owner, limit], |row| Ok(MessageId::stored(row.int(0)?)))?)
}

/// Marks a received message as read. Repeating it changes nothing, and neither does it where the
/// owner did not receive the message.
pub fn mark_read(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, message: MessageId) -> Result<()> {
    advance(tx, owner)?;
    tx.execute(
        "UPDATE entries SET unread = 0, read_at = ?3,
         changed_seq = (SELECT counter FROM mailboxes WHERE owner_id = ?1)
         WHERE owner_id = ?1 AND received = 1 AND unread = 1 AND message_id = ?2",
        &params![owner, message, cx.now],
    )?;
    Ok(())
}

/// Takes a message out of a mailbox that was advanced, and leaves a tombstone; whether it was
/// there.
pub(crate) fn remove(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, message: MessageId) -> Result<bool> {
    let Some(entry) = entry(tx, owner, message)? else { return Ok(false) };
    tx.execute(
        "INSERT INTO tombstones (owner_id, seq, message_id, created_seq, destroyed_at)
         SELECT entries.owner_id, counter, message_id, created_seq, ?5
         FROM entries JOIN mailboxes ON mailboxes.owner_id = entries.owner_id
         WHERE entries.owner_id = ?1 AND received = ?2 AND unread = ?3 AND message_id = ?4",
        &params![owner, entry.received, entry.unread, message, cx.now],
    )?;
    tx.execute(
        "DELETE FROM entries
         WHERE owner_id = ?1 AND received = ?2 AND unread = ?3 AND message_id = ?4",
        &params![owner, entry.received, entry.unread, message],
    )?;
    // Each new one takes up to two with it that are old enough, so that they cannot pile up.
    tx.execute(
        "DELETE FROM tombstones WHERE owner_id = ?1 AND destroyed_at < ?2 AND seq IN
         (SELECT seq FROM tombstones WHERE owner_id = ?1 ORDER BY seq LIMIT 2)",
        &params![owner, cx.now.plus(-TOMBSTONE_KEPT)],
    )?;
    Ok(true)
}
