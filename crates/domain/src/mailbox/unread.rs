//! What is unread, in counts, of one user and of many, and as the lists of the classic API.

pub mod many;

use db::{Tx, params};

use crate::accounts::modseq;
pub use crate::base::event::UnreadCounts;
use crate::base::{Cx, Error, MessageId, Missing, Result, UserId};
use crate::mailbox::entries::{self, Entry};
use crate::mailbox::place::{place, places};

/// The counts of a mailbox, from one row; zeros for a user that does not exist.
pub fn counts(tx: &mut Tx<'_>, owner: UserId) -> Result<UnreadCounts> {
    let counts = tx.query_opt(
        "SELECT unread, unread_conversations, modseq FROM mailboxes WHERE owner_id = ?1",
        &params![owner],
        |row| {
            let (messages, conversations) = (row.int(0)?, row.int(1)?);
            Ok(UnreadCounts { messages, conversations, modseq: row.int(2)? })
        },
    )?;
    Ok(counts.unwrap_or_default())
}

/// The modseqs of some mailboxes.
pub fn modseqs(tx: &mut Tx<'_>, owners: &[i64]) -> Result<Vec<(UserId, i64)>> {
    Ok(tx.query(
        "SELECT owner_id, modseq FROM mailboxes
         WHERE owner_id IN (SELECT value FROM json_each(?1))",
        &params![owners],
        |row| Ok((UserId::stored(row.int(0)?), row.int(1)?)),
    )?)
}

/// The received messages outside the trash, ascending by id. Where there are more than `limit`, an
/// arbitrary `limit` of them.
pub fn received_ids(tx: &mut Tx<'_>, owner: UserId, limit: i64) -> Result<Vec<MessageId>> {
    // The archive may also hold what the owner only sent.
    ids(
        tx,
        concat!(
            "SELECT message_id FROM entries WHERE owner_id = ?1 AND place BETWEEN ",
            place!(inbox_read),
            " AND ",
            place!(archive_unread_row),
            " AND role <> 2 LIMIT ?2"
        ),
        owner,
        limit,
    )
}

/// The same for those that the owner has not read.
pub fn unread_ids(tx: &mut Tx<'_>, owner: UserId, limit: i64) -> Result<Vec<MessageId>> {
    ids(
        tx,
        concat!(
            "SELECT message_id FROM entries WHERE owner_id = ?1 AND place IN (",
            places!(inbox_unread inbox_unread_row archive_unread archive_unread_row),
            ") LIMIT ?2"
        ),
        owner,
        limit,
    )
}

fn ids(tx: &mut Tx<'_>, sql: &'static str, owner: UserId, limit: i64) -> Result<Vec<MessageId>> {
    let mut ids =
        tx.query(sql, &params![owner, limit], |row| Ok(MessageId::stored(row.int(0)?)))?;
    // They come as a few ascending runs of the key.
    ids.sort();
    Ok(ids)
}

/// Marks a received message as read. Changes no entry where it is read already or was not received.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox does not hold it.
pub fn mark_read(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, message: MessageId) -> Result<()> {
    modseq::advance(tx, owner)?;
    let old = entries::find(tx, owner, message)?.ok_or(Error::NotFound(Missing::Message))?;
    if !old.is_unread() {
        return Ok(());
    }
    let new = Entry { read_at: Some(cx.now), ..old };
    entries::change(tx, cx, owner, &old, &new)
}
