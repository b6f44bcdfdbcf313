//! Messages as they are stored: once, whoever holds them.

use db::{Row, Tx, params};

use crate::entries::Entry;
use crate::{ConversationId, MessageId, Result, Time, UserId};

/// What was sent, without regard to who looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Which message.
    pub id: MessageId,
    /// Who wrote it.
    pub from: UserId,
    /// To whom, as far as they could be written to.
    pub to: Vec<UserId>,
    /// The conversation that it belongs to.
    pub conversation: ConversationId,
    /// The message that it answers.
    pub in_reply_to: Option<MessageId>,
    /// What it is about.
    pub subject: String,
    /// What it says; where only snippets were asked for, its beginning.
    pub body: String,
    /// When it was sent.
    pub sent_at: Time,
    /// The sender's own name for it.
    pub client_id: Option<String>,
    /// What the app keeps with it: a JSON object.
    pub metadata: Option<String>,
}

impl Envelope {
    /// Everybody whom the message names, ascending.
    pub fn people(&self) -> Vec<UserId> {
        let mut people = self.to.clone();
        people.push(self.from);
        people.sort();
        people.dedup();
        people
    }
}

/// How much of a body is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// The first [`SNIPPET`] characters.
    Snippet,
    /// All of it.
    Whole,
}

/// Characters of a snippet.
pub const SNIPPET: usize = 140;

/// The messages with these ids, ascending; those that are not there are left out. One statement.
pub(crate) fn load(
    tx: &mut Tx<'_>,
    ids: impl IntoIterator<Item = MessageId>,
    text: Text,
) -> Result<Vec<Envelope>> {
    let ids: Vec<i64> = ids.into_iter().map(MessageId::get).collect();
    // A list costs SQLite a table of its own, and mostly it is one message that has come.
    if let ([id], Text::Snippet) = (&*ids, text) {
        return Ok(tx.query(
            "SELECT id, sender_id, receiver_id, others, conversation_id, in_reply_to, subject,
             substr(body, 1, 140), sent_at, client_id, metadata FROM messages WHERE id = ?1",
            &params![*id],
            envelope,
        )?);
    }
    let sql = match text {
        Text::Snippet => {
            "SELECT id, sender_id, receiver_id, others, conversation_id, in_reply_to, subject,
             substr(body, 1, 140), sent_at, client_id, metadata FROM messages
             WHERE id IN (SELECT value FROM json_each(?1))"
        }
        Text::Whole => {
            "SELECT id, sender_id, receiver_id, others, conversation_id, in_reply_to, subject,
             body, sent_at, client_id, metadata FROM messages
             WHERE id IN (SELECT value FROM json_each(?1))"
        }
    };
    let mut found = tx.query(sql, &params![&*ids], envelope)?;
    found.sort_by_key(|envelope| envelope.id);
    Ok(found)
}

/// The message with this id, which somebody holds.
pub(crate) fn load_one(tx: &mut Tx<'_>, id: MessageId) -> Result<Envelope> {
    Ok(tx.query_one(
        "SELECT id, sender_id, receiver_id, others, conversation_id, in_reply_to, subject, body,
         sent_at, client_id, metadata FROM messages WHERE id = ?1",
        &params![id],
        envelope,
    )?)
}

fn envelope(row: &Row<'_>) -> db::Result<Envelope> {
    let id = MessageId::stored(row.int(0)?);
    Ok(Envelope {
        id,
        from: UserId::stored(row.int(1)?),
        to: receivers(row.int(2)?, row.opt_text(3)?),
        conversation: row.opt_int(4)?.map_or(id.begins(), ConversationId::stored),
        in_reply_to: row.opt_int(5)?.map(MessageId::stored),
        subject: row.text(6)?.to_owned(),
        body: row.text(7)?.to_owned(),
        sent_at: Time(row.int(8)?),
        client_id: row.opt_text(9)?.map(str::to_owned),
        metadata: row.opt_text(10)?.map(str::to_owned),
    })
}

/// The receivers in their order: the first has a column, the others a list.
fn receivers(first: i64, others: Option<&str>) -> Vec<UserId> {
    let others = others.into_iter().flat_map(ids);
    std::iter::once(UserId::stored(first)).chain(others).collect()
}

/// The ids in a list, as [`joined`] writes it.
pub(crate) fn ids(list: &str) -> impl Iterator<Item = UserId> {
    list.split(',').filter_map(|id| id.parse().ok()).map(UserId::stored)
}

/// Ids as they are stored in a list.
pub(crate) fn joined(ids: &[UserId]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| id.get().to_string()).collect();
    ids.join(",")
}

/// Who sent the message of an entry: its own knowledge, but where the message has several
/// receivers.
pub(crate) fn sender(tx: &mut Tx<'_>, owner: UserId, entry: &Entry) -> Result<UserId> {
    match entry.peer {
        _ if entry.sent => Ok(owner),
        Some(peer) => Ok(peer),
        None => Ok(tx.query_one(
            "SELECT sender_id FROM messages WHERE id = ?1",
            &params![entry.message],
            |row| Ok(UserId::stored(row.int(0)?)),
        )?),
    }
}

/// Notes that so many mailboxes hold the message no more; the text goes with the last of them.
pub(crate) fn let_go(tx: &mut Tx<'_>, id: MessageId, mailboxes: i64) -> Result<()> {
    tx.execute(
        "UPDATE messages SET holders = holders - ?2 WHERE id = ?1",
        &params![id, mailboxes],
    )?;
    tx.execute("DELETE FROM messages WHERE id = ?1 AND holders <= 0", &params![id])?;
    Ok(())
}

/// The first message from an id on, and when it was sent.
pub(crate) fn first_from(tx: &mut Tx<'_>, id: i64) -> Result<Option<(i64, Time)>> {
    Ok(tx.query_opt(
        "SELECT id, sent_at FROM messages WHERE id >= ?1 ORDER BY id LIMIT 1",
        &params![id],
        |row| Ok((row.int(0)?, Time(row.int(1)?))),
    )?)
}
