//! Entries: what a mailbox says of a message, and the counts that follow from it.
//!
//! Every change of an entry goes through `insert`, `insert_many`, `change` or `remove`, and each
//! keeps the counts, so a count and the list that it counts cannot differ.

mod counts;
mod many;
mod one;
mod removal;

use db::{Row, Tx, params};

pub(crate) use self::counts::count_reply;
use self::counts::recount;
pub(crate) use self::many::{find_in, find_up_to, insert_many, insert_moved};
pub use self::one::Entry;
pub(crate) use self::removal::{remove, remove_untold};
use crate::base::{ConversationId, Cx, EventKind, MessageId, Result, Time, UserId};
pub use crate::mailbox::place::Folder;
use crate::mailbox::place::{Place, places};
use crate::outbox::webhooks::{self, Occurrence};

/// The columns of a whole entry, for [`entry`].
macro_rules! entry_columns {
    () => {
        "place, message_id, conversation_id, role, peer_id, read_at, starred_at, archived_at, \
         trashed_at, created_modseq, changed_modseq, first_read_at"
    };
}
pub(crate) use entry_columns;

/// A statement that reads whole entries.
macro_rules! select_entries {
    ($($rest:expr),+ $(,)?) => {
        concat!(
            "SELECT ",
            $crate::mailbox::entries::entry_columns!(),
            " FROM entries ",
            $($rest),+
        )
    };
}
pub(crate) use select_entries;

/// The entry in a row with the columns [`entry_columns!`].
pub(crate) fn entry(row: &Row<'_>) -> db::Result<Entry> {
    let message = MessageId::stored(row.int(1)?);
    let (role, created_modseq) = (row.int(3)?, row.int(9)?);
    Ok(Entry {
        has_conversation_row: row.int(0)? & 1 == 1,
        message,
        conversation: row.opt_int(2)?.map_or(message.begins(), ConversationId::stored),
        received: role & 1 == 1,
        sent: role & 2 == 2,
        peer: row.opt_int(4)?.map(UserId::stored),
        read_at: row.opt_int(5)?.map(Time),
        starred_at: row.opt_int(6)?.map(Time),
        archived_at: row.opt_int(7)?.map(Time),
        trashed_at: row.opt_int(8)?.map(Time),
        created_modseq,
        changed_modseq: row.opt_int(10)?.unwrap_or(created_modseq),
        first_read_at: row.opt_int(11)?.map(Time),
    })
}

/// Where an entry most likely is: read or unread in the inbox, or sent.
const LIKELY: [Place; 3] = [
    Place::new(Folder::Inbox, false, false),
    Place::new(Folder::Inbox, true, false),
    Place::new(Folder::Sent, false, false),
];

/// A message's entry in the mailbox of the owner; `None` where the mailbox does not hold it.
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
            "WHERE owner_id = ?1 AND place IN (",
            // All but the likely ones.
            places!(inbox_read_row inbox_unread_row archive_read archive_read_row archive_unread
                archive_unread_row sent_row trash_read trash_read_row trash_unread
                trash_unread_row),
            ") AND message_id = ?2"
        ),
        &params![owner, message],
        entry,
    )?)
}

/// As much of an entry as the classic API shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// The owner received the message.
    pub received: bool,
    /// The owner received it and has not read it.
    pub unread: bool,
}

/// The same as [`find`] for the flags alone: in the likely places that is one column of a row.
pub(crate) fn flags(tx: &mut Tx<'_>, owner: UserId, message: MessageId) -> Result<Option<Flags>> {
    for place in LIKELY {
        let found = tx.query_opt(
            "SELECT role FROM entries WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
            &params![owner, place, message],
            |row| Ok(Flags { received: row.int(0)? & 1 == 1, unread: place.is_unread() }),
        )?;
        if found.is_some() {
            return Ok(found);
        }
    }
    let entry = find(tx, owner, message)?;
    Ok(entry.map(|entry| Flags { received: entry.received, unread: entry.is_unread() }))
}

/// The entry of a conversation that is its first message alone. A reply is never one, though a
/// conversation could have its id.
pub(crate) fn single(
    tx: &mut Tx<'_>,
    owner: UserId,
    conversation: ConversationId,
) -> Result<Option<Entry>> {
    Ok(find(tx, owner, conversation.first())?.filter(|entry| !entry.has_conversation_row))
}

/// Who sent the message of an entry. The entry knows, except where there are several recipients.
fn sender(tx: &mut Tx<'_>, owner: UserId, entry: &Entry) -> Result<UserId> {
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

/// Records an event about a message in a mailbox, where some webhook wants it.
fn emit(tx: &mut Tx<'_>, cx: &Cx, kind: EventKind, owner: UserId, entry: &Entry) -> Result<()> {
    if !cx.wanted.webhooks.has(kind) {
        return Ok(());
    }
    let event = event(tx, owner, entry)?;
    webhooks::emit(tx, cx, kind, &event)
}

fn event(tx: &mut Tx<'_>, owner: UserId, entry: &Entry) -> Result<Occurrence<'static>> {
    Ok(Occurrence {
        user: Some(owner),
        message: Some((entry.message, entry.conversation)),
        from: Some(sender(tx, owner, entry)?),
        ..Occurrence::default()
    })
}

/// Adds a message to mailboxes whose modseqs were advanced. The caller that advanced them has
/// counted the message too, unless it is a reply: [`count_reply`] counts that.
pub(crate) fn insert(tx: &mut Tx<'_>, new: &[(UserId, Entry)]) -> Result<()> {
    let rows: Vec<_> = new
        .iter()
        .map(|(owner, new)| {
            let conversation = new.has_conversation_row.then_some(new.conversation);
            params![*owner, new.place(), new.message, conversation, new.role(), new.peer]
        })
        .collect();
    tx.batch(
        "INSERT INTO entries (owner_id, place, message_id, conversation_id, role, peer_id,
         created_modseq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, (SELECT modseq FROM mailboxes WHERE owner_id = ?1))",
        &rows,
    )?;
    Ok(())
}

/// Replaces an entry's state in a mailbox whose modseq was advanced.
pub(crate) fn change(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    old: &Entry,
    new: &Entry,
) -> Result<()> {
    tx.execute(
        "UPDATE entries SET place = ?4, read_at = ?5, starred_at = ?6, archived_at = ?7,
         trashed_at = ?8, first_read_at = ?9,
         changed_modseq = (SELECT modseq FROM mailboxes WHERE owner_id = ?1)
         WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
        &params![
            owner,
            old.place(),
            old.message,
            new.place(),
            new.read_at,
            new.starred_at,
            new.archived_at,
            new.trashed_at,
            new.first_read_at
        ],
    )?;
    if new.trashed_at != old.trashed_at {
        record_trash(tx, owner, new)?;
    }
    if new.was_read() && !old.was_read() {
        emit(tx, cx, EventKind::MessageRead, owner, new)?;
    }
    recount(tx, cx, owner, old, new)
}

/// Keeps the table `trash` in step with an entry.
fn record_trash(tx: &mut Tx<'_>, owner: UserId, entry: &Entry) -> Result<()> {
    match entry.trashed_at {
        Some(since) => tx.execute(
            "INSERT INTO trash (owner_id, message_id, trashed_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (owner_id, message_id) DO UPDATE SET trashed_at = ?3",
            &params![owner, entry.message, since],
        ),
        None => tx.execute(
            "DELETE FROM trash WHERE owner_id = ?1 AND message_id = ?2",
            &params![owner, entry.message],
        ),
    }?;
    Ok(())
}

/// Records that the conversation of an entry has a row of its own now. Clients see no difference.
pub(crate) fn move_to_row(tx: &mut Tx<'_>, owner: UserId, single: &Entry) -> Result<()> {
    tx.execute(
        "UPDATE entries SET place = place + 1, conversation_id = message_id
         WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
        &params![owner, single.place(), single.message],
    )?;
    Ok(())
}

/// Whether a mailbox has held a message that is gone, as far as its tombstones say.
pub(crate) fn has_tombstone(tx: &mut Tx<'_>, owner: UserId, message: MessageId) -> Result<bool> {
    let found = tx.query_opt(
        "SELECT 1 FROM tombstones WHERE owner_id = ?1 AND message_id = ?2",
        &params![owner, message],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}
