//! Messages: sending, reading, deleting, withdrawing.

use db::{Tx, params};

use crate::mailbox::{self, Standing};
use crate::text::{Body, Subject};
use crate::{Cx, Error, MessageId, Result, Time, UserId};

/// A message that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// To whom.
    pub to: UserId,
    /// What it is about.
    pub subject: Subject,
    /// What it says.
    pub body: Body,
}

/// A message as its sender and its receiver see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which one it is.
    pub id: MessageId,
    /// Who wrote it.
    pub sender: UserId,
    /// To whom.
    pub receiver: UserId,
    /// What it is about.
    pub subject: String,
    /// What it says.
    pub body: String,
    /// When it was sent.
    pub sent_at: Time,
}

/// Sends a message: it is in both mailboxes, or in none.
///
/// # Errors
/// [`Error::UnknownReceiver`], [`Error::ReceiverUnavailable`]; [`Error::NotLoggedIn`] where the
/// sender was disabled in the meantime.
pub fn send(tx: &mut Tx<'_>, cx: &Cx, sender: UserId, draft: &Draft) -> Result<MessageId> {
    match mailbox::both(tx, sender, draft.to, mailbox::advance_open)? {
        (Standing::Open, Standing::Open) => {}
        (Standing::Open, Standing::Closed) => return Err(Error::ReceiverUnavailable),
        (Standing::Open, Standing::Absent) => return Err(Error::UnknownReceiver),
        (Standing::Closed | Standing::Absent, _) => return Err(Error::NotLoggedIn),
    }
    let holders = if sender == draft.to { 1 } else { 2 };
    let id = tx.insert(
        "INSERT INTO messages (sender_id, receiver_id, subject, body, sent_at, holders)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &params![sender, draft.to, draft.subject.as_str(), draft.body.as_str(), cx.now, holders],
    )?;
    let id = MessageId::stored(id);
    mailbox::deliver(tx, id, sender, draft.to)?;
    Ok(id)
}

/// A message in the caller's mailbox, and whether the caller received it and has not read it.
/// Reading changes nothing; see [`mailbox::mark_read`].
pub fn read(tx: &mut Tx<'_>, caller: UserId, id: MessageId) -> Result<Option<(Message, bool)>> {
    let Some(entry) = mailbox::entry(tx, caller, id)? else { return Ok(None) };
    let message = tx.query_one(
        "SELECT sender_id, receiver_id, subject, body, sent_at FROM messages WHERE id = ?1",
        &params![id],
        |row| {
            Ok(Message {
                id,
                sender: UserId::stored(row.int(0)?),
                receiver: UserId::stored(row.int(1)?),
                subject: row.text(2)?.to_owned(),
                body: row.text(3)?.to_owned(),
                sent_at: Time(row.int(4)?),
            })
        },
    )?;
    Ok(Some((message, entry.unread)))
}

/// Deletes a message from the caller's mailbox; where the caller sent it, it is withdrawn: gone
/// for both.
///
/// # Errors
/// [`Error::NotFound`] where the caller's mailbox does not hold it.
pub fn delete(tx: &mut Tx<'_>, cx: &Cx, caller: UserId, id: MessageId) -> Result<()> {
    let entry = mailbox::entry(tx, caller, id)?.ok_or(Error::NotFound)?;
    // The envelope never changes, so it may be read before the mailboxes are locked.
    let other = if entry.sent { receiver(tx, id)? } else { caller };
    mailbox::both(tx, caller, other, mailbox::advance)?;
    if !mailbox::remove(tx, cx, caller, id)? {
        return Err(Error::NotFound);
    }
    let also = other != caller && mailbox::remove(tx, cx, other, id)?;
    let_go(tx, id, 1 + i64::from(also))
}

fn receiver(tx: &mut Tx<'_>, id: MessageId) -> Result<UserId> {
    let sql = "SELECT receiver_id FROM messages WHERE id = ?1";
    Ok(tx.query_one(sql, &params![id], |row| Ok(UserId::stored(row.int(0)?)))?)
}

/// Notes that so many mailboxes hold the message no more; the text goes with the last of them.
fn let_go(tx: &mut Tx<'_>, id: MessageId, mailboxes: i64) -> Result<()> {
    let holders = tx.query_one(
        "UPDATE messages SET holders = holders - ?2 WHERE id = ?1 RETURNING holders",
        &params![id, mailboxes],
        |row| row.int(0),
    )?;
    if holders <= 0 {
        tx.execute("DELETE FROM messages WHERE id = ?1", &params![id])?;
    }
    Ok(())
}
