//! The rows of conversations: one for each conversation of a mailbox that is more than one message
//! to one recipient, or that has a state of its own.
//!
//! A muted conversation stays muted when the mailbox holds nothing of it any more: its row stays,
//! emptied of subject and participants, and counts as absent until a reply fills it again.

use std::collections::HashMap;

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
            "SELECT conversation_id, last_message_id, unread, subject, participants, muted_at, \
             owner_id FROM conversations ",
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

/// The same in those of some mailboxes that have a row of the conversation.
pub(crate) fn find_in(
    tx: &mut Tx<'_>,
    owners: &[UserId],
    conversation: ConversationId,
) -> Result<Vec<(UserId, ConversationRow)>> {
    let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    Ok(tx.query(
        select_conversations!("WHERE owner_id IN rarray(?1) AND conversation_id = ?2"),
        &params![&*ids, conversation],
        |found| Ok((UserId::stored(found.int(6)?), row(found)?)),
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

/// Keeps the row of a conversation in step with one of its entries, which was marked, or moved in
/// or out of the trash. Returns the change in the number of conversations that have something
/// unread.
pub(crate) fn adjust(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
    unread: i64,
    (message, is_listed): (MessageId, bool),
) -> Result<i64> {
    let (before, last) = tx.query_one(
        "SELECT unread, last_message_id FROM conversations
         WHERE owner_id = ?1 AND conversation_id = ?2",
        &params![owner, conversation],
        |row| Ok((row.int(0)?, row.opt_int(1)?.map(MessageId::stored))),
    )?;
    let after = before + unread;
    let last = match last {
        _ if is_listed => last.max(Some(message)),
        Some(last) if last == message => {
            newest_below(tx, &[owner], conversation, last)?.first().and_then(|(_, newest)| *newest)
        }
        other => other,
    };
    tx.execute(
        "UPDATE conversations SET unread = ?3, last_message_id = ?4
         WHERE owner_id = ?1 AND conversation_id = ?2",
        &params![owner, conversation, after, last],
    )?;
    Ok(i64::from(after > 0) - i64::from(before > 0))
}

/// Adds a reply, which is their newest message, to the rows of a conversation. Returns in which
/// mailboxes it had nothing unread before, where the reply is unread.
pub(crate) fn add_message(
    tx: &mut Tx<'_>,
    owners: &[UserId],
    (conversation, message): (ConversationId, MessageId),
    (is_unread, is_written): (bool, bool),
) -> Result<Vec<UserId>> {
    let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    let mut began = Vec::new();
    if is_unread {
        began = tx.query(
            "SELECT owner_id FROM conversations
             WHERE owner_id IN rarray(?1) AND conversation_id = ?2 AND unread = 0",
            &params![&*ids, conversation],
            |row| Ok(UserId::stored(row.int(0)?)),
        )?;
    }
    tx.execute(
        "UPDATE conversations SET unread = unread + ?3,
         last_message_id = CASE WHEN last_message_id > ?4 THEN last_message_id ELSE ?4 END,
         has_written = coalesce(?5, has_written)
         WHERE owner_id IN rarray(?1) AND conversation_id = ?2",
        &params![&*ids, conversation, i64::from(is_unread), message, is_written.then_some(1_i64)],
    )?;
    Ok(began)
}

/// What the removal of a message leaves of the row of its conversation.
pub(crate) struct Left {
    pub(crate) owner: UserId,
    /// The conversation has nothing unread any more.
    pub(crate) is_read: bool,
    /// Its newest message outside the trash.
    pub(crate) last: Option<MessageId>,
}

/// Removes a message, whose entries are gone, from the rows of its conversation in some mailboxes:
/// whether it was unread in the inbox, and whether the owner had sent it. What is empty goes.
pub(crate) fn remove_message(
    tx: &mut Tx<'_>,
    (conversation, message): (ConversationId, MessageId),
    gone: &[(UserId, i64, bool)],
) -> Result<Vec<Left>> {
    let ids: Vec<i64> = gone.iter().map(|(owner, ..)| owner.get()).collect();
    let rows = tx.query(
        "SELECT owner_id, unread, last_message_id, muted_at FROM conversations
         WHERE owner_id IN rarray(?1) AND conversation_id = ?2",
        &params![&*ids, conversation],
        |row| {
            let last = row.opt_int(2)?.map(MessageId::stored);
            Ok((UserId::stored(row.int(0)?), row.int(1)?, last, row.opt_int(3)?.is_some()))
        },
    )?;
    let was_last = rows.iter().filter(|(_, _, last, _)| *last == Some(message));
    let was_last: Vec<_> = was_last.map(|(owner, ..)| *owner).collect();
    let newest: HashMap<_, _> =
        newest_below(tx, &was_last, conversation, message)?.into_iter().collect();
    let last = |owner: &UserId, last| newest.get(owner).copied().unwrap_or(last);
    let unlisted = rows.iter().filter(|(owner, _, then, _)| last(owner, *then).is_none());
    let unlisted: Vec<_> = unlisted.map(|(owner, ..)| *owner).collect();
    let held = holders(tx, &unlisted, conversation)?;
    let is_empty = |owner: &UserId| unlisted.contains(owner) && !held.contains(owner);
    let (mut deleted, mut emptied, mut changed, mut left) = (vec![], vec![], vec![], vec![]);
    for (owner, before, then, is_muted) in &rows {
        let (_, unread, sent) = gone.iter().find(|(of, ..)| of == owner).expect("it was asked for");
        let last = last(owner, *then);
        if is_empty(owner) && !is_muted {
            deleted.push(params![*owner, conversation]);
        } else {
            let written = sent.then_some(1_i64);
            changed.push(params![*owner, conversation, before - unread, last, written]);
            if is_empty(owner) {
                emptied.push((*owner, String::new()));
            }
        }
        left.push(Left { owner: *owner, is_read: *before > 0 && before == unread, last });
    }
    tx.batch("DELETE FROM conversations WHERE owner_id = ?1 AND conversation_id = ?2", &deleted)?;
    tx.batch(
        "UPDATE conversations SET unread = ?3, last_message_id = ?4,
         has_written = coalesce(?5, has_written) WHERE owner_id = ?1 AND conversation_id = ?2",
        &changed,
    )?;
    fill(tx, conversation, "", &emptied)?;
    Ok(left)
}

/// The newest message of a conversation below another that is not in the trash, in each of some
/// mailboxes.
fn newest_below(
    tx: &mut Tx<'_>,
    owners: &[UserId],
    conversation: ConversationId,
    below: MessageId,
) -> Result<Vec<(UserId, Option<MessageId>)>> {
    if owners.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    Ok(tx.query(
        concat!(
            "SELECT owner_id, (SELECT message_id FROM entries
                 WHERE entries.owner_id = mailboxes.owner_id AND conversation_id = ?2 AND ",
            has_row!(),
            "    AND message_id < ?3 AND trashed_at IS NULL ORDER BY message_id DESC LIMIT 1)
             FROM mailboxes WHERE owner_id IN rarray(?1)"
        ),
        &params![&*ids, conversation, below],
        |row| Ok((UserId::stored(row.int(0)?), row.opt_int(1)?.map(MessageId::stored))),
    )?)
}

/// Those of some mailboxes that hold a message of a conversation with a row, even in the trash.
fn holders(
    tx: &mut Tx<'_>,
    owners: &[UserId],
    conversation: ConversationId,
) -> Result<Vec<UserId>> {
    if owners.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    let held = tx.query(
        concat!(
            // PostgreSQL would turn a condition with EXISTS into a join that reads far more.
            "SELECT owner_id, (SELECT message_id FROM entries
                 WHERE entries.owner_id = mailboxes.owner_id AND conversation_id = ?2 AND ",
            has_row!(),
            "    LIMIT 1)
             FROM mailboxes WHERE owner_id IN rarray(?1)"
        ),
        &params![&*ids, conversation],
        |row| Ok((UserId::stored(row.int(0)?), row.opt_int(1)?)),
    )?;
    Ok(held.into_iter().filter_map(|(owner, any)| any.map(|_| owner)).collect())
}

/// Adds people to rows of a conversation that a reply continues: to those who are named there, or
/// to nobody, where only the mute was left of it.
pub(crate) fn add_participants(
    tx: &mut Tx<'_>,
    rows: &[(UserId, ConversationRow)],
    (conversation, subject): (ConversationId, &str),
    people: &[UserId],
) -> Result<()> {
    let (emptied, others): (Vec<_>, Vec<_>) = rows.iter().partition(|(_, row)| row.is_emptied());
    let emptied: Vec<_> = emptied.iter().map(|(owner, _)| (*owner, stored(people))).collect();
    fill(tx, conversation, subject, &emptied)?;
    let mut grown = Vec::new();
    for (owner, row) in others {
        let mut all = [people, &row.participants].concat();
        all.sort();
        all.dedup();
        if all.len() > row.participants.len() && row.participants.len() < PARTICIPANTS {
            grown.push((*owner, stored(&all)));
        }
    }
    let grown: Vec<_> =
        grown.iter().map(|(owner, all)| params![*owner, conversation, all.as_str()]).collect();
    tx.batch(
        "UPDATE conversations SET participants = ?3 WHERE owner_id = ?1 AND conversation_id = ?2",
        &grown,
    )?;
    Ok(())
}

/// Sets what rows say of a conversation: nothing, or the subject and the people of the reply with
/// which it goes on.
fn fill(
    tx: &mut Tx<'_>,
    conversation: ConversationId,
    subject: &str,
    rows: &[(UserId, String)],
) -> Result<()> {
    let rows: Vec<_> = rows
        .iter()
        .map(|(owner, people)| params![*owner, conversation, subject, people.as_str()])
        .collect();
    tx.batch(
        "UPDATE conversations SET subject = ?3, participants = ?4
         WHERE owner_id = ?1 AND conversation_id = ?2",
        &rows,
    )?;
    Ok(())
}

/// At most [`PARTICIPANTS`] of the people, as a row holds them.
fn stored(people: &[UserId]) -> String {
    join_ids(&people[..people.len().min(PARTICIPANTS)])
}

/// Creates the rows of a conversation in mailboxes that count so much of it as unread, with at most
/// [`PARTICIPANTS`] of the people.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    owners: &[(UserId, i64)],
    (conversation, last): (ConversationId, Option<MessageId>),
    (subject, people): (&str, &[UserId]),
) -> Result<()> {
    let people = stored(people);
    let rows: Vec<_> = owners
        .iter()
        .map(|(owner, unread)| {
            params![*owner, conversation, last, *unread, subject, people.as_str()]
        })
        .collect();
    tx.batch(
        "INSERT INTO conversations (owner_id, conversation_id, last_message_id, unread, subject,
         participants) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &rows,
    )?;
    Ok(())
}
