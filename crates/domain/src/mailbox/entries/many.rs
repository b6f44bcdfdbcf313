//! Entries of many mailboxes at once.

use db::{Tx, params};

use super::one::Entry;
use super::{entry, entry_columns};
use crate::base::{MessageId, Result, UserId};
use crate::mailbox::place::places;

/// Adds messages that come from elsewhere, with everything that mailboxes say of them, each at the
/// modseq that its entry says. The caller has counted them, and keeps the rows of conversations.
pub(crate) fn insert_moved(tx: &mut Tx<'_>, new: &[(UserId, Entry)]) -> Result<()> {
    let rows = new.iter().map(|(owner, new)| {
        params![
            *owner,
            new.place(),
            new.message,
            new.has_conversation_row.then_some(new.conversation),
            new.role(),
            new.peer,
            new.read_at,
            new.starred_at,
            new.archived_at,
            new.trashed_at,
            new.created_modseq,
            new.first_read_at
        ]
    });
    tx.batch(
        "INSERT INTO entries (owner_id, place, message_id, conversation_id, role, peer_id, read_at,
             starred_at, archived_at, trashed_at, created_modseq, first_read_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        &rows.collect::<Vec<_>>(),
    )?;
    let trashed =
        new.iter().filter_map(|(owner, new)| Some((*owner, new.message, new.trashed_at?)));
    let trashed: Vec<_> = trashed.map(|(owner, message, at)| params![owner, message, at]).collect();
    tx.batch("INSERT INTO trash (owner_id, message_id, trashed_at) VALUES (?1, ?2, ?3)", &trashed)?;
    Ok(())
}

/// Adds messages to mailboxes whose modseqs were advanced, each at the modseq that its entry says.
/// The caller has counted them, and each begins a conversation that has no row.
pub(crate) fn insert_many(tx: &mut Tx<'_>, new: &[(UserId, Entry)]) -> Result<()> {
    let rows: Vec<_> = new
        .iter()
        .map(|(owner, new)| {
            let Entry { message, peer, read_at, created_modseq, .. } = *new;
            params![*owner, new.place(), message, new.role(), peer, read_at, created_modseq]
        })
        .collect();
    tx.batch(
        "INSERT INTO entries (owner_id, place, message_id, role, peer_id, read_at, created_modseq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &rows,
    )?;
    Ok(())
}

/// The entries of a message in those of these mailboxes that hold it, ascending by owner.
pub(crate) fn find_in(
    tx: &mut Tx<'_>,
    owners: &[UserId],
    message: MessageId,
) -> Result<Vec<(UserId, Entry)>> {
    macro_rules! at {
        ($($place:ident)*) => {
            concat!(
                "SELECT ",
                entry_columns!(),
                ", owner_id FROM entries WHERE owner_id IN rarray(?1) AND place IN (",
                places!($($place)*),
                ") AND message_id = ?2"
            )
        };
    }
    const LIKELY: &str = at!(inbox_read inbox_unread);
    const OTHERS: &str = at!(inbox_read_row inbox_unread_row archive_read archive_read_row
        archive_unread archive_unread_row sent sent_row trash_read trash_read_row trash_unread
        trash_unread_row);
    let mut found: Vec<(UserId, Entry)> = Vec::with_capacity(owners.len());
    for sql in [LIKELY, OTHERS] {
        let is_found = |owner: &UserId| found.iter().any(|(at, _)| at == owner);
        let missing = owners.iter().filter(|owner| !is_found(owner)).map(|owner| owner.get());
        let missing: Vec<i64> = missing.collect();
        if !missing.is_empty() {
            let held = tx.query(sql, &params![&*missing, message], |row| {
                Ok((UserId::stored(row.int(12)?), entry(row)?))
            });
            found.extend(held?);
        }
    }
    found.sort_by_key(|(owner, _)| *owner);
    Ok(found)
}

/// What these mailboxes hold of the messages up to one, ascending by message and owner.
pub(crate) fn find_up_to(
    tx: &mut Tx<'_>,
    owners: &[UserId],
    last: MessageId,
) -> Result<Vec<(UserId, Entry)>> {
    let owners: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    let mut held = tx.query(
        concat!(
            "SELECT ",
            entry_columns!(),
            ", owner_id FROM entries WHERE owner_id IN rarray(?1) AND place IN (",
            places!(inbox_read inbox_unread inbox_read_row inbox_unread_row archive_read
                archive_read_row archive_unread archive_unread_row sent sent_row trash_read
                trash_read_row trash_unread trash_unread_row),
            ") AND message_id <= ?2"
        ),
        &params![&*owners, last],
        |row| Ok((UserId::stored(row.int(12)?), entry(row)?)),
    )?;
    held.sort_by_key(|(owner, entry)| (entry.message, *owner));
    Ok(held)
}
