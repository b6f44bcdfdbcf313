//! The rows of conversations: one for each conversation of a mailbox that is more than one
//! message to one receiver, or that has a state of its own.

use db::{Tx, params};

use crate::entries;
use crate::envelopes::{self, Envelope};
use crate::{ConversationId, MessageId, Result, UserId};

/// Participants that a conversation names; who comes later is written to all the same.
const PARTICIPANTS: usize = 200;

/// The row of a conversation.
pub(crate) struct Thread {
    pub(crate) conversation: ConversationId,
    pub(crate) last: Option<MessageId>,
    pub(crate) unread: i64,
    pub(crate) subject: String,
    pub(crate) participants: Vec<UserId>,
    pub(crate) muted: bool,
}

/// A statement that reads whole rows.
macro_rules! select_threads {
    ($rest:literal) => {
        concat!(
            "SELECT conversation_id, last_message_id, unread, subject, participants, muted_at \
             FROM threads ",
            $rest
        )
    };
}

pub(crate) use select_threads;

/// The row of such a statement.
pub(crate) fn thread(row: &db::Row<'_>) -> db::Result<Thread> {
    Ok(Thread {
        conversation: ConversationId::stored(row.int(0)?),
        last: row.opt_int(1)?.map(MessageId::stored),
        unread: row.int(2)?,
        subject: row.text(3)?.to_owned(),
        participants: envelopes::ids(row.text(4)?).collect(),
        muted: row.opt_int(5)?.is_some(),
    })
}

/// The row of a conversation, where it has one.
pub(crate) fn find(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
) -> Result<Option<Thread>> {
    Ok(tx.query_opt(
        select_threads!("WHERE owner_id = ?1 AND conversation_id = ?2"),
        &params![owner, conversation],
        thread,
    )?)
}

/// The newest entry of a conversation below a message that is not in the trash.
fn newest_below(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
    below: MessageId,
) -> Result<Option<MessageId>> {
    Ok(tx.query_opt(
        "SELECT message_id FROM entries
         WHERE owner_id = ?1 AND conversation_id = ?2 AND place % 2 = 1 AND message_id < ?3
         AND trashed_at IS NULL ORDER BY message_id DESC LIMIT 1",
        &params![owner, conversation, below],
        |row| Ok(MessageId::stored(row.int(0)?)),
    )?)
}

/// An entry of a conversation that came, went, or moved in or out of the trash.
pub(crate) struct Moved {
    pub message: MessageId,
    pub listed: bool,
    pub gone: bool,
}

/// Keeps the row of a conversation in step with one of its entries. Returns what that changes in
/// the number of conversations that have something unread.
pub(crate) fn adjust(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
    unread: i64,
    moved: &Moved,
) -> Result<i64> {
    let (before, last) = tx.query_one(
        "SELECT unread, last_message_id FROM threads WHERE owner_id = ?1 AND conversation_id = ?2",
        &params![owner, conversation],
        |row| Ok((row.int(0)?, row.opt_int(1)?.map(MessageId::stored))),
    )?;
    let after = before + unread;
    let last = match last {
        _ if moved.listed => last.max(Some(moved.message)),
        Some(last) if last == moved.message => newest_below(tx, owner, conversation, last)?,
        other => other,
    };
    if moved.gone && last.is_none() && !has_entries(tx, owner, conversation)? {
        tx.execute(
            "DELETE FROM threads WHERE owner_id = ?1 AND conversation_id = ?2",
            &params![owner, conversation],
        )?;
    } else {
        tx.execute(
            "UPDATE threads SET unread = ?3, last_message_id = ?4
             WHERE owner_id = ?1 AND conversation_id = ?2",
            &params![owner, conversation, after, last],
        )?;
    }
    Ok(i64::from(after > 0) - i64::from(before > 0))
}

fn has_entries(tx: &mut Tx<'_>, owner: UserId, conversation: ConversationId) -> Result<bool> {
    let any = tx.query_opt(
        "SELECT 1 FROM entries WHERE owner_id = ?1 AND conversation_id = ?2 AND place % 2 = 1
         LIMIT 1",
        &params![owner, conversation],
        |_| Ok(()),
    )?;
    Ok(any.is_some())
}

/// Gives the conversation of a message a row in a mailbox, or adds the people of the message to it.
pub(crate) fn join(tx: &mut Tx<'_>, owner: UserId, reply: &Envelope) -> Result<()> {
    let conversation = reply.conversation;
    let Some(known) = find(tx, owner, conversation)? else {
        return begin(tx, owner, conversation, Some(reply));
    };
    let mut all = known.participants.clone();
    all.extend(reply.people());
    all.sort();
    all.dedup();
    if all.len() > known.participants.len() && known.participants.len() < PARTICIPANTS {
        all.truncate(PARTICIPANTS);
        tx.execute(
            "UPDATE threads SET participants = ?3 WHERE owner_id = ?1 AND conversation_id = ?2",
            &params![owner, conversation, envelopes::joined(&all).as_str()],
        )?;
    }
    Ok(())
}

/// Makes the row of a conversation that a message to several begins.
pub(crate) fn start(tx: &mut Tx<'_>, owner: UserId, first: &Envelope, unread: i64) -> Result<()> {
    let mut people = first.people();
    people.truncate(PARTICIPANTS);
    insert(tx, owner, first.conversation, (Some(first.id), unread), (&first.subject, &people))
}

fn insert(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
    (last, unread): (Option<MessageId>, i64),
    (subject, people): (&str, &[UserId]),
) -> Result<()> {
    tx.execute(
        "INSERT INTO threads (owner_id, conversation_id, last_message_id, unread, subject,
         participants) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &params![owner, conversation, last, unread, subject, envelopes::joined(people).as_str()],
    )?;
    Ok(())
}

/// Makes the row of a conversation of which a mailbox holds at most the first message.
pub(crate) fn begin(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
    reply: Option<&Envelope>,
) -> Result<()> {
    let single = entries::single(tx, owner, conversation)?;
    let mut people = reply.map(Envelope::people).unwrap_or_default();
    let mut subject = reply.map(|reply| reply.subject.clone()).unwrap_or_default();
    let (mut last, mut unread) = (None, 0);
    if let Some(single) = single {
        let first = envelopes::load_one(tx, single.message)?;
        people.extend(first.people());
        people.sort();
        people.dedup();
        people.truncate(PARTICIPANTS);
        subject = first.subject;
        last = single.trashed_at.is_none().then_some(single.message);
        unread = single.counts();
        entries::thread(tx, owner, &single)?;
    }
    insert(tx, owner, conversation, (last, unread), (&subject, &people))
}
