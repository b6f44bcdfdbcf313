//! Entries: what a mailbox says of a message, and the counts that follow from it.
//!
//! Every change of an entry goes through `insert`, `change` or `remove`, and each of them
//! keeps the counts: so a count and the list that it counts cannot differ.

use db::{Row, Tx, params};

use crate::webhooks::{self, News};
use crate::{ConversationId, Cx, MessageId, Result, Time, UserId, threads};

/// Where a message is in a mailbox: in one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Folder {
    /// Received, and neither archived nor in the trash.
    Inbox,
    /// Put aside.
    Archive,
    /// Sent and not received, and neither archived nor in the trash.
    Sent,
    /// To be destroyed after 30 days.
    Trash,
}

/// Where an entry stands in the key, see the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(i64);

impl Place {
    pub(crate) fn new(folder: Folder, unread: bool, threaded: bool) -> Self {
        Self(4 * folder as i64 + 2 * i64::from(unread) + i64::from(threaded))
    }

    fn is_unread(self) -> bool {
        self.0 & 2 == 2
    }
}

impl From<Place> for db::Value<'_> {
    fn from(place: Place) -> Self {
        db::Value::Int(place.0)
    }
}

/// What a mailbox says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which message.
    pub message: MessageId,
    /// The conversation that it belongs to.
    pub conversation: ConversationId,
    /// The owner received it.
    pub received: bool,
    /// The owner sent it.
    pub sent: bool,
    /// The other side; nobody where the message has several receivers.
    pub peer: Option<UserId>,
    /// When the owner read what was received.
    pub read_at: Option<Time>,
    /// Since when it has a star.
    pub starred_at: Option<Time>,
    /// Since when it is archived.
    pub archived_at: Option<Time>,
    /// Since when it is in the trash.
    pub trashed_at: Option<Time>,
    /// The number at which it came.
    pub created_seq: i64,
    /// The number at which it last changed.
    pub changed_seq: i64,
    /// Whether its conversation has a row of its own.
    pub(crate) threaded: bool,
}

impl Entry {
    /// Where it is.
    pub fn folder(&self) -> Folder {
        if self.trashed_at.is_some() {
            Folder::Trash
        } else if self.archived_at.is_some() {
            Folder::Archive
        } else if self.received {
            Folder::Inbox
        } else {
            Folder::Sent
        }
    }

    /// Whether the owner received it and has not read it.
    pub fn is_unread(&self) -> bool {
        self.received && self.read_at.is_none()
    }

    fn place(&self) -> Place {
        Place::new(self.folder(), self.is_unread(), self.threaded)
    }

    /// What it adds to the count of the unread: those in the inbox.
    pub(crate) fn counts(&self) -> i64 {
        i64::from(self.is_unread() && self.folder() == Folder::Inbox)
    }

    fn is_listed(&self) -> bool {
        self.folder() != Folder::Trash
    }

    fn role(&self) -> i64 {
        i64::from(self.received) + 2 * i64::from(self.sent)
    }
}

/// A statement that reads whole entries.
macro_rules! select_entries {
    ($rest:literal) => {
        concat!(
            "SELECT place, message_id, conversation_id, role, peer_id, read_at, starred_at, \
             archived_at, trashed_at, created_seq, changed_seq FROM entries ",
            $rest
        )
    };
}
pub(crate) use select_entries;

/// The entry in a row of such a statement.
pub(crate) fn entry(row: &Row<'_>) -> db::Result<Entry> {
    let message = MessageId::stored(row.int(1)?);
    let (role, created_seq) = (row.int(3)?, row.int(9)?);
    Ok(Entry {
        threaded: row.int(0)? & 1 == 1,
        message,
        conversation: row.opt_int(2)?.map_or(message.begins(), ConversationId::stored),
        received: role & 1 == 1,
        sent: role & 2 == 2,
        peer: row.opt_int(4)?.map(UserId::stored),
        read_at: row.opt_int(5)?.map(Time),
        starred_at: row.opt_int(6)?.map(Time),
        archived_at: row.opt_int(7)?.map(Time),
        trashed_at: row.opt_int(8)?.map(Time),
        created_seq,
        changed_seq: row.opt_int(10)?.unwrap_or(created_seq),
    })
}

/// The likeliest places of an entry that is looked for: read or unread in the inbox, and sent.
const LIKELY: [Place; 3] = [Place(0), Place(2), Place(8)];

/// What the mailbox of the owner says of a message; `None` where it does not hold it.
pub fn find(tx: &mut Tx<'_>, owner: UserId, message: MessageId) -> Result<Option<Entry>> {
    for place in LIKELY {
        let found = tx.query_opt(
            select_entries!("WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3"),
            &params![owner, place, message],
            entry,
        )?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(tx.query_opt(
        select_entries!(
            "WHERE owner_id = ?1 AND place IN (1, 3, 4, 5, 6, 7, 9, 12, 13, 14, 15)
             AND message_id = ?2"
        ),
        &params![owner, message],
        entry,
    )?)
}

/// As much of an entry as the classic API shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// The owner received the message.
    pub received: bool,
    /// The owner received it and has not read it.
    pub unread: bool,
}

/// The same as [`find`] for a glance: where a message is likely to be, that is one number of a row.
pub(crate) fn glance(tx: &mut Tx<'_>, owner: UserId, message: MessageId) -> Result<Option<Glance>> {
    for place in LIKELY {
        let found = tx.query_opt(
            "SELECT role FROM entries WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
            &params![owner, place, message],
            |row| Ok(Glance { received: row.int(0)? & 1 == 1, unread: place.is_unread() }),
        )?;
        if found.is_some() {
            return Ok(found);
        }
    }
    let entry = find(tx, owner, message)?;
    Ok(entry.map(|entry| Glance { received: entry.received, unread: entry.is_unread() }))
}

/// The message that is all of a conversation. A reply is none, though its id could be one of a
/// conversation.
pub(crate) fn single(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
) -> Result<Option<Entry>> {
    Ok(find(tx, owner, conversation.first())?.filter(|entry| !entry.threaded))
}

/// Puts a message into a mailbox that was advanced. Whoever advanced the mailbox has counted it,
/// unless it is a reply: that is counted by [`count`].
pub(crate) fn insert(tx: &mut Tx<'_>, owner: UserId, new: &Entry) -> Result<()> {
    tx.execute(
        "INSERT INTO entries (owner_id, place, message_id, conversation_id, role, peer_id,
         created_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, (SELECT counter FROM mailboxes WHERE owner_id = ?1))",
        &params![
            owner,
            new.place(),
            new.message,
            new.threaded.then_some(new.conversation),
            new.role(),
            new.peer
        ],
    )?;
    Ok(())
}

/// Counts a reply that came.
pub(crate) fn count(tx: &mut Tx<'_>, owner: UserId, new: &Entry) -> Result<()> {
    recount(tx, owner, None, Some(new))
}

/// Puts another state into the place of an entry of a mailbox that was advanced.
pub(crate) fn change(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    old: &Entry,
    new: &Entry,
) -> Result<()> {
    tx.execute(
        "UPDATE entries SET place = ?4, read_at = ?5, starred_at = ?6, archived_at = ?7,
         trashed_at = ?8, changed_seq = (SELECT counter FROM mailboxes WHERE owner_id = ?1)
         WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
        &params![
            owner,
            old.place(),
            old.message,
            new.place(),
            new.read_at,
            new.starred_at,
            new.archived_at,
            new.trashed_at
        ],
    )?;
    if new.trashed_at != old.trashed_at {
        note_trash(tx, owner, new)?;
    }
    if old.is_unread() && !new.is_unread() {
        webhooks::tell(tx, cx, &News::Read(owner, new))?;
    }
    recount(tx, owner, Some(old), Some(new))
}

/// Keeps in step what is known of the trash.
fn note_trash(tx: &mut Tx<'_>, owner: UserId, entry: &Entry) -> Result<()> {
    match entry.trashed_at {
        Some(since) => tx.execute(
            "INSERT INTO trash (owner_id, message_id, trashed_at) VALUES (?1, ?2, ?3)",
            &params![owner, entry.message, since],
        ),
        None => tx.execute(
            "DELETE FROM trash WHERE owner_id = ?1 AND message_id = ?2",
            &params![owner, entry.message],
        ),
    }?;
    Ok(())
}

/// Notes that the conversation of an entry has a row of its own now. Nobody sees a difference.
pub(crate) fn thread(tx: &mut Tx<'_>, owner: UserId, single: &Entry) -> Result<()> {
    tx.execute(
        "UPDATE entries SET place = place + 1, conversation_id = message_id
         WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
        &params![owner, single.place(), single.message],
    )?;
    Ok(())
}

/// Takes a message out of a mailbox that was advanced, and leaves a tombstone.
pub(crate) fn remove(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, old: &Entry) -> Result<()> {
    tx.execute(
        "INSERT INTO tombstones (owner_id, seq, message_id, created_seq, destroyed_at)
         SELECT owner_id, counter, ?2, ?3, ?4 FROM mailboxes WHERE owner_id = ?1",
        &params![owner, old.message, old.created_seq, cx.now],
    )?;
    webhooks::tell(tx, cx, &News::Destroyed(owner, old))?;
    drop_entry(tx, owner, old)
}

/// Takes it out without a trace, for a mailbox that is nobody's any more.
pub(crate) fn drop_entry(tx: &mut Tx<'_>, owner: UserId, old: &Entry) -> Result<()> {
    tx.execute(
        "DELETE FROM entries WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
        &params![owner, old.place(), old.message],
    )?;
    if old.trashed_at.is_some() {
        note_trash(tx, owner, &Entry { trashed_at: None, ..*old })?;
    }
    recount(tx, owner, Some(old), None)
}

/// Keeps the counts of the mailbox and of the conversation.
fn recount(tx: &mut Tx<'_>, owner: UserId, old: Option<&Entry>, new: Option<&Entry>) -> Result<()> {
    let messages = new.map_or(0, Entry::counts) - old.map_or(0, Entry::counts);
    let listed = new.is_some_and(Entry::is_listed);
    let relisted = listed != old.is_some_and(Entry::is_listed);
    let any = new.or(old).expect("an entry comes, changes or goes");
    let conversations = if !any.threaded {
        messages
    } else if messages != 0 || relisted || new.is_none() {
        let moved = threads::Moved { message: any.message, listed, gone: new.is_none() };
        threads::adjust(tx, owner, any.conversation, messages, &moved)?
    } else {
        0
    };
    if messages != 0 || conversations != 0 {
        tx.execute(
            "UPDATE mailboxes SET unread = unread + ?2,
             unread_conversations = unread_conversations + ?3 WHERE owner_id = ?1",
            &params![owner, messages, conversations],
        )?;
    }
    Ok(())
}
