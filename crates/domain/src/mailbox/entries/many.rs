//! Entries of many mailboxes at once.

use db::{Tx, params};

use super::one::Entry;
use crate::base::{Result, UserId};

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
