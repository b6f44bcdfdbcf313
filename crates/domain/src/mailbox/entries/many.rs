//! Entries of many mailboxes at once.

use db::{Tx, params};

use super::one::Entry;
use super::{
    BURY, DELETE, FORGET_CLIENT_ID, TAKE_OUT_OF_TRASH, entry, entry_columns, event, remove,
};
use crate::accounts::modseq;
use crate::base::{Cx, EventKind, MessageId, Result, UserId};
use crate::mailbox::place::places;
use crate::outbox::{unread_changes, webhooks};

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

/// What these mailboxes hold of the messages up to one, ascending by owner and message.
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
    held.sort_by_key(|(owner, entry)| (*owner, entry.message));
    Ok(held)
}

/// Advances the modseqs of locked mailboxes and removes from them what they hold, as [`remove`]
/// does, ascending by owner. Where the conversation has no row, a few statements do it together.
pub(crate) fn remove_all(tx: &mut Tx<'_>, cx: &Cx, held: &[(UserId, Entry)]) -> Result<()> {
    let (others, single): (Vec<_>, Vec<_>) =
        held.iter().copied().partition(|(_, entry)| entry.has_conversation_row);
    for (owner, entry) in others {
        modseq::advance(tx, owner)?;
        remove(tx, cx, owner, &entry)?;
    }
    let (mut mailboxes, mut buried, mut recounted) = (Vec::new(), Vec::new(), Vec::new());
    for mailbox in single.chunk_by(|(one, _), (next, _)| one == next) {
        let (owner, number) = (mailbox[0].0, i64::try_from(mailbox.len()).unwrap_or(i64::MAX));
        let unread: i64 = mailbox.iter().map(|(_, entry)| entry.unread_count()).sum();
        mailboxes.push(params![owner, number, unread]);
        if unread > 0 {
            recounted.push(owner);
        }
        // One thing at each modseq: the last of them at the one that the mailbox has then.
        for ((_, entry), back) in mailbox.iter().zip((0..number).rev()) {
            buried.push(params![owner, entry.message, entry.created_modseq, cx.now, back]);
        }
        modseq::notify(tx, owner, 1);
    }
    tx.batch(
        "UPDATE mailboxes SET modseq = modseq + ?2, unread = unread - ?3,
         unread_conversations = unread_conversations - ?3,
         oldest_unread_at = CASE WHEN ?3 = 0 THEN oldest_unread_at END WHERE owner_id = ?1",
        &mailboxes,
    )?;
    tx.batch(BURY, &buried)?;
    let rows = single.iter().map(|(owner, entry)| params![*owner, entry.place(), entry.message]);
    tx.batch(DELETE, &rows.collect::<Vec<_>>())?;
    let trashed = single.iter().filter(|(_, entry)| entry.trashed_at.is_some());
    let rows = trashed.map(|(owner, entry)| params![*owner, entry.message]);
    tx.batch(TAKE_OUT_OF_TRASH, &rows.collect::<Vec<_>>())?;
    let sent = single.iter().filter(|(_, entry)| entry.sent);
    let rows = sent.map(|(_, entry)| params![entry.message]);
    tx.batch(FORGET_CLIENT_ID, &rows.collect::<Vec<_>>())?;
    if cx.wanted.webhooks.has(EventKind::MessageDestroyed) {
        let events = single.iter().map(|(owner, entry)| event(tx, *owner, entry));
        let events = events.collect::<Result<Vec<_>>>()?;
        webhooks::emit_all(tx, cx, EventKind::MessageDestroyed, &events)?;
    }
    unread_changes::note(tx, cx, &recounted)
}
