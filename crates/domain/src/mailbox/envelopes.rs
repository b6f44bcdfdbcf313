//! Envelopes: messages as they are stored, once, however many mailboxes hold them.

use std::collections::{BTreeMap, HashMap};

use db::{Row, Tx, params};

use crate::base::id::{each_once, split_ids};
use crate::base::{ConversationId, MessageId, Result, Time, UserId};

/// What was sent, the same for every reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The message.
    pub id: MessageId,
    /// Who wrote it.
    pub from: UserId,
    /// The recipients who accepted it; in lists, no more than [`NAMED`] of them.
    pub to: Vec<UserId>,
    /// How many recipients accepted it.
    pub to_count: usize,
    /// The conversation that it belongs to.
    pub conversation: ConversationId,
    /// The message that it answers.
    pub in_reply_to: Option<MessageId>,
    /// The subject.
    pub subject: String,
    /// The body, or its first [`SNIPPET`] characters.
    pub body: String,
    /// When it was sent.
    pub sent_at: Time,
    /// The id that the sending client gave it.
    pub client_id: Option<String>,
    /// The app's metadata: a JSON object as text.
    pub metadata: Option<String>,
    /// The name of the server key that sent it for the sender.
    pub via: Option<String>,
}

impl Envelope {
    /// The sender and the recipients, each once, ascending.
    pub fn people(&self) -> Vec<UserId> {
        let mut people = self.to.clone();
        people.push(self.from);
        people.sort();
        people.dedup();
        people
    }

    /// The first [`SNIPPET`] characters of the body.
    pub fn snippet(&self) -> &str {
        if self.body.len() <= SNIPPET {
            return &self.body;
        }
        let end = self.body.char_indices().nth(SNIPPET);
        end.map_or(&self.body, |(end, _)| &self.body[..end])
    }

    /// Leaves the first [`NAMED`] recipients; the owner of the mailbox stays if they are one.
    pub(crate) fn shorten(&mut self, owner: UserId) {
        if self.to.len() > NAMED {
            if let Some(own) = self.to.iter().skip(NAMED).position(|to| *to == owner) {
                self.to.swap(NAMED - 1, NAMED + own);
            }
            self.to.truncate(NAMED);
        }
    }
}

/// How much of a message to load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BodyPart {
    /// The first [`SNIPPET`] characters of the body, and no metadata.
    #[default]
    Snippet,
    /// The same with the metadata.
    SnippetAndMetadata,
    /// All of it.
    Whole,
}

/// Characters of a snippet.
pub const SNIPPET: usize = 140;
/// How many recipients of a message, and participants of a conversation, a list names.
pub const NAMED: usize = 5;
/// The body as far as a snippet shows it, in SQL.
macro_rules! snippet {
    () => {
        "substr(body, 1, 140)"
    };
}

/// The messages of a list of ids, in SQL. Looked for by `IN`, they would cost SQLite a temporary
/// table.
macro_rules! listed {
    () => {
        "rarray(?1) JOIN messages ON id = value"
    };
}

/// A statement that reads whole messages, for [`envelope`].
macro_rules! select_messages {
    ($body:expr, $metadata:literal, $from:expr) => {
        select_messages!($body, $metadata, "", $from)
    };
    ($body:expr, $metadata:literal, $more:literal, $from:expr) => {
        concat!(
            "SELECT id, sender_id, recipient_id, other_recipients, conversation_id, in_reply_to, \
             subject, ",
            $body,
            ", sent_at, client_id, ",
            $metadata,
            ", via",
            $more,
            " FROM ",
            $from
        )
    };
}

/// The messages with these ids, ascending, in one statement; ids that do not exist are left out.
pub(crate) fn load(
    tx: &mut Tx<'_>,
    ids: impl IntoIterator<Item = MessageId>,
    part: BodyPart,
) -> Result<Vec<Envelope>> {
    let ids = each_once(ids.into_iter().map(MessageId::get));
    let sql = match part {
        BodyPart::Snippet => select_messages!(snippet!(), "NULL", listed!()),
        BodyPart::SnippetAndMetadata => select_messages!(snippet!(), "metadata", listed!()),
        BodyPart::Whole => select_messages!("body", "metadata", listed!()),
    };
    let mut found = tx.query(sql, &params![&*ids], envelope)?;
    found.sort_by_key(|envelope| envelope.id);
    Ok(found)
}

/// The same by their ids, for a scan: without metadata, and with the bytes of the whole body, which
/// SQLite reads for its beginning as well.
pub(crate) fn load_sized(
    tx: &mut Tx<'_>,
    ids: impl Iterator<Item = MessageId>,
    part: BodyPart,
) -> Result<HashMap<MessageId, (Envelope, u64)>> {
    let ids = each_once(ids.map(MessageId::get));
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    macro_rules! select_sized {
        ($body:expr) => {
            select_messages!($body, "NULL", ", octet_length(body)", listed!())
        };
    }
    let sql = match part {
        BodyPart::Snippet | BodyPart::SnippetAndMetadata => select_sized!(snippet!()),
        BodyPart::Whole => select_sized!("body"),
    };
    let sized = |row: &Row<'_>| {
        let (envelope, bytes) = (envelope(row)?, row.int(12)?);
        Ok((envelope.id, (envelope, bytes.unsigned_abs())))
    };
    Ok(tx.query(sql, &params![&*ids], sized)?.into_iter().collect())
}

/// The message with this id, which some mailbox holds.
pub(crate) fn load_one(tx: &mut Tx<'_>, id: MessageId) -> Result<Envelope> {
    Ok(tx.query_one(
        select_messages!("body", "metadata", "messages WHERE id = ?1"),
        &params![id],
        envelope,
    )?)
}

/// The bytes of body and metadata of these messages, in one statement that reads neither.
pub(crate) fn sizes(
    tx: &mut Tx<'_>,
    ids: impl IntoIterator<Item = MessageId>,
) -> Result<BTreeMap<MessageId, usize>> {
    let ids: Vec<i64> = ids.into_iter().map(MessageId::get).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sizes = tx.query(
        "SELECT id, CAST(octet_length(body) + COALESCE(octet_length(metadata), 0) AS BIGINT)
         FROM messages WHERE id IN rarray(?1)",
        &params![&*ids],
        |row| Ok((MessageId::stored(row.int(0)?), usize::try_from(row.int(1)?).unwrap_or(0))),
    )?;
    Ok(sizes.into_iter().collect())
}

fn envelope(row: &Row<'_>) -> db::Result<Envelope> {
    let id = MessageId::stored(row.int(0)?);
    let to = recipients(row.int(2)?, row.opt_text(3)?);
    Ok(Envelope {
        id,
        from: UserId::stored(row.int(1)?),
        to_count: to.len(),
        to,
        conversation: row.opt_int(4)?.map_or(id.begins(), ConversationId::stored),
        in_reply_to: row.opt_int(5)?.map(MessageId::stored),
        subject: row.text(6)?.to_owned(),
        body: row.text(7)?.to_owned(),
        sent_at: Time(row.int(8)?),
        client_id: row.opt_text(9)?.map(str::to_owned),
        metadata: row.opt_text(10)?.map(str::to_owned),
        via: row.opt_text(11)?.map(str::to_owned),
    })
}

/// The recipients in their order: the first has a column of its own, the others a list.
fn recipients(first: i64, others: Option<&str>) -> Vec<UserId> {
    let others = others.into_iter().flat_map(split_ids);
    std::iter::once(UserId::stored(first)).chain(others).collect()
}

const RELEASE: [&str; 2] = [
    "UPDATE messages SET mailbox_count = mailbox_count - ?2 WHERE id = ?1",
    "DELETE FROM messages WHERE id = ?1 AND mailbox_count <= 0",
];

/// Records that so many mailboxes no longer hold the message; it goes with the last of them.
pub(crate) fn release(tx: &mut Tx<'_>, id: MessageId, mailboxes: i64) -> Result<()> {
    release_all(tx, &[(id, mailboxes)])
}

/// The same for many messages.
pub(crate) fn release_all(tx: &mut Tx<'_>, released: &[(MessageId, i64)]) -> Result<()> {
    let [leave, remove] = RELEASE;
    let rows: Vec<_> = released.iter().map(|(id, mailboxes)| params![*id, *mailboxes]).collect();
    tx.batch(leave, &rows)?;
    let rows: Vec<_> = released.iter().map(|(id, _)| params![*id]).collect();
    tx.batch(remove, &rows)?;
    Ok(())
}

/// A message as far as it says whether and where it is to be removed.
pub(crate) struct Stored {
    pub(crate) id: MessageId,
    pub(crate) sent_at: Time,
    /// Whose mailboxes may hold it, ascending.
    pub(crate) people: Vec<UserId>,
}

/// Up to `limit` messages above an id, ascending.
pub(crate) fn stored_after(tx: &mut Tx<'_>, id: i64, limit: i64) -> Result<Vec<Stored>> {
    Ok(tx.query(
        "SELECT id, sender_id, recipient_id, other_recipients, sent_at FROM messages
         WHERE id > ?1 ORDER BY id LIMIT ?2",
        &params![id, limit],
        |row| {
            let mut people = recipients(row.int(2)?, row.opt_text(3)?);
            people.push(UserId::stored(row.int(1)?));
            people.sort();
            people.dedup();
            Ok(Stored { id: MessageId::stored(row.int(0)?), sent_at: Time(row.int(4)?), people })
        },
    )?)
}

/// When messages were sent, in one statement.
pub(crate) fn times(
    tx: &mut Tx<'_>,
    ids: impl IntoIterator<Item = MessageId>,
) -> Result<Vec<(i64, Time)>> {
    let ids: Vec<i64> = ids.into_iter().map(MessageId::get).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(tx.query(
        "SELECT id, sent_at FROM messages WHERE id IN rarray(?1)",
        &params![&*ids],
        |row| Ok((row.int(0)?, Time(row.int(1)?))),
    )?)
}

/// The first message with at least that id, and when it was sent.
pub(crate) fn first_from(tx: &mut Tx<'_>, id: i64) -> Result<Option<(i64, Time)>> {
    Ok(tx.query_opt(
        "SELECT id, sent_at FROM messages WHERE id >= ?1 ORDER BY id LIMIT 1",
        &params![id],
        |row| Ok((row.int(0)?, Time(row.int(1)?))),
    )?)
}

/// When the newest message was sent.
pub(crate) fn newest_time(tx: &mut Tx<'_>) -> Result<Option<Time>> {
    Ok(tx.query_opt(
        "SELECT sent_at FROM messages WHERE id < ?1 ORDER BY id DESC LIMIT 1",
        &params![MessageId::ABOVE_ALL],
        |row| Ok(Time(row.int(0)?)),
    )?)
}
