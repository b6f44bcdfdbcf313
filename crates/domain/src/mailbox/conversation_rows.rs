//! The rows of conversations: one for each conversation of a mailbox that is more than one message
//! to one recipient, or that has a state of its own.
//!
//! A muted conversation stays muted when the mailbox holds nothing of it any more: its row stays,
//! emptied of subject and participants, and counts as absent until a reply fills it again.

use db::{Tx, params};

use crate::base::id::{join_ids, split_ids};
use crate::base::{ConversationId, MessageId, Result, UserId};

/// Participants that a row names; replies still go to everybody.
pub(crate) const PARTICIPANTS: usize = 200;

/// The condition that an entry's conversation has a row, as the partial index has it.
macro_rules! has_row {
    () => {
        "place % 2 = 1"
    };
}
pub(crate) use has_row;

pub(crate) struct ConversationRow {
    pub(crate) conversation: ConversationId,
    pub(crate) last: Option<MessageId>,
    pub(crate) unread: i64,
    pub(crate) subject: String,
    pub(crate) participants: Vec<UserId>,
    pub(crate) muted: bool,
}

impl ConversationRow {
    /// Only the mute is left of it. As long as there is a message, somebody participates.
    pub(crate) fn is_emptied(&self) -> bool {
        self.participants.is_empty()
    }
}

/// A statement that reads whole rows, for [`row`].
macro_rules! select_conversations {
    ($rest:literal) => {
        concat!(
            "SELECT conversation_id, last_message_id, unread, subject, participants, muted_at \
             FROM conversations ",
            $rest
        )
    };
}
pub(crate) use select_conversations;

/// The row that [`select_conversations!`] reads.
pub(crate) fn row(row: &db::Row<'_>) -> db::Result<ConversationRow> {
    Ok(ConversationRow {
        conversation: ConversationId::stored(row.int(0)?),
        last: row.opt_int(1)?.map(MessageId::stored),
        unread: row.int(2)?,
        subject: row.text(3)?.to_owned(),
        participants: split_ids(row.text(4)?).collect(),
        muted: row.opt_int(5)?.is_some(),
    })
}

/// The row of a conversation, where it has one; it may be emptied.
pub(crate) fn find(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
) -> Result<Option<ConversationRow>> {
    Ok(tx.query_opt(
        select_conversations!("WHERE owner_id = ?1 AND conversation_id = ?2"),
        &params![owner, conversation],
        row,
    )?)
}

/// Whether a conversation has a row that is not emptied.
pub(crate) fn exists(tx: &mut Tx<'_>, owner: UserId, conversation: ConversationId) -> Result<bool> {
    let row = tx.query_opt(
        "SELECT 1 FROM conversations
         WHERE owner_id = ?1 AND conversation_id = ?2 AND participants <> ''",
        &params![owner, conversation],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// The newest message of a conversation below another that is not in the trash.
fn newest_below(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
    below: MessageId,
) -> Result<Option<MessageId>> {
    Ok(tx.query_opt(
        concat!(
            "SELECT message_id FROM entries WHERE owner_id = ?1 AND conversation_id = ?2 AND ",
            has_row!(),
            " AND message_id < ?3 AND trashed_at IS NULL ORDER BY message_id DESC LIMIT 1"
        ),
        &params![owner, conversation, below],
        |row| Ok(MessageId::stored(row.int(0)?)),
    )?)
}

/// An entry of a conversation that was created or removed, or moved in or out of the trash.
pub(crate) struct Moved {
    pub(crate) message: MessageId,
    /// It is outside the trash now.
    pub(crate) listed: bool,
    pub(crate) gone: bool,
    /// The owner sent it.
    pub(crate) sent: bool,
}

/// Keeps the row of a conversation in step with one of its entries. Returns the change in the
/// number of conversations that have something unread.
pub(crate) fn adjust(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
    unread: i64,
    moved: &Moved,
) -> Result<i64> {
    let (before, last, muted) = tx.query_one(
        "SELECT unread, last_message_id, muted_at FROM conversations
         WHERE owner_id = ?1 AND conversation_id = ?2",
        &params![owner, conversation],
        |row| {
            let last = row.opt_int(1)?.map(MessageId::stored);
            Ok((row.int(0)?, last, row.opt_int(2)?.is_some()))
        },
    )?;
    let after = before + unread;
    let last = match last {
        _ if moved.listed => last.max(Some(moved.message)),
        Some(last) if last == moved.message => newest_below(tx, owner, conversation, last)?,
        other => other,
    };
    let empty = moved.gone && last.is_none() && !has_entries(tx, owner, conversation)?;
    if empty && !muted {
        tx.execute(
            "DELETE FROM conversations WHERE owner_id = ?1 AND conversation_id = ?2",
            &params![owner, conversation],
        )?;
    } else {
        tx.execute(
            "UPDATE conversations SET unread = ?3, last_message_id = ?4,
             has_written = coalesce(?5, has_written)
             WHERE owner_id = ?1 AND conversation_id = ?2",
            &params![owner, conversation, after, last, (moved.gone && moved.sent).then_some(1_i64)],
        )?;
        if empty {
            fill(tx, owner, conversation, ("", &[]))?;
        }
    }
    Ok(i64::from(after > 0) - i64::from(before > 0))
}

fn has_entries(tx: &mut Tx<'_>, owner: UserId, conversation: ConversationId) -> Result<bool> {
    let any = tx.query_opt(
        concat!(
            "SELECT 1 FROM entries WHERE owner_id = ?1 AND conversation_id = ?2 AND ",
            has_row!(),
            " LIMIT 1"
        ),
        &params![owner, conversation],
        |_| Ok(()),
    )?;
    Ok(any.is_some())
}

/// Sets what a row says of a conversation: nothing, or what the reply says with which it goes on.
pub(crate) fn fill(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
    (subject, people): (&str, &[UserId]),
) -> Result<()> {
    tx.execute(
        "UPDATE conversations SET subject = ?3, participants = ?4
         WHERE owner_id = ?1 AND conversation_id = ?2",
        &params![owner, conversation, subject, stored(people).as_str()],
    )?;
    Ok(())
}

/// At most [`PARTICIPANTS`] of the people, as a row holds them.
fn stored(people: &[UserId]) -> String {
    join_ids(&people[..people.len().min(PARTICIPANTS)])
}

pub(crate) fn add_participants(
    tx: &mut Tx<'_>,
    owner: UserId,
    row: &ConversationRow,
    people: Vec<UserId>,
) -> Result<()> {
    let mut all = people;
    all.extend(&row.participants);
    all.sort();
    all.dedup();
    if all.len() > row.participants.len() && row.participants.len() < PARTICIPANTS {
        all.truncate(PARTICIPANTS);
        tx.execute(
            "UPDATE conversations SET participants = ?3
             WHERE owner_id = ?1 AND conversation_id = ?2",
            &params![owner, row.conversation, join_ids(&all).as_str()],
        )?;
    }
    Ok(())
}

/// Creates the row of a conversation, with at most [`PARTICIPANTS`] of the people.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
    (last, unread): (Option<MessageId>, i64),
    (subject, people): (&str, &[UserId]),
) -> Result<()> {
    tx.execute(
        "INSERT INTO conversations (owner_id, conversation_id, last_message_id, unread, subject,
         participants) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &params![owner, conversation, last, unread, subject, stored(people).as_str()],
    )?;
    Ok(())
}
