//! Entries of many mailboxes at once.

use db::{Tx, params};

use super::one::Entry;
use crate::base::{Result, UserId};

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
