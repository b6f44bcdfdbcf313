//! The modseq of a mailbox: its change counter (the term of IMAP's CONDSTORE, RFC 7162), and the
//! lock of everything that its owner has.

use db::{Tx, params};

use crate::base::{Result, UserId};
use crate::outbox::notices;

/// Advances a mailbox's modseq, which locks the mailbox until the transaction ends. Returns whether
/// the mailbox exists.
///
/// At most one thing may happen in the mailbox under the new value: one message is created, changed
/// or removed. Where several mailboxes are advanced, do it in ascending order of owner, or two
/// transactions could wait for each other.
pub fn advance(tx: &mut Tx<'_>, owner: UserId) -> Result<bool> {
    let advanced = tx
        .execute("UPDATE mailboxes SET modseq = modseq + 1 WHERE owner_id = ?1", &params![owner])?;
    Ok(notify(tx, owner, advanced))
}

/// The same for many mailboxes that are locked.
pub(crate) fn advance_all(tx: &mut Tx<'_>, owners: &[UserId]) -> Result<()> {
    let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    tx.execute(
        "UPDATE mailboxes SET modseq = modseq + 1 WHERE owner_id IN rarray(?1)",
        &params![&*ids],
    )?;
    for owner in owners {
        notify(tx, *owner, 1);
    }
    Ok(())
}

/// Tells the mailbox's subscribers where a modseq was advanced. Returns whether it was.
pub(crate) fn notify(tx: &mut Tx<'_>, owner: UserId, advanced: u64) -> bool {
    if advanced == 1 {
        notices::send(tx, notices::MAILBOX, owner);
    }
    advanced == 1
}

/// The modseq of a mailbox that exists.
pub(crate) fn of(tx: &mut Tx<'_>, owner: UserId) -> Result<i64> {
    let sql = "SELECT modseq FROM mailboxes WHERE owner_id = ?1";
    Ok(tx.query_one(sql, &params![owner], |row| row.int(0))?)
}

/// Locks a mailbox whose modseq may not have to advance, before anything in it is read.
pub(crate) fn lock(tx: &mut Tx<'_>, owner: UserId) -> Result<()> {
    tx.lock("SELECT 1 FROM mailboxes WHERE owner_id = ?1 FOR UPDATE", &params![owner])?;
    Ok(())
}

/// The same for many mailboxes at once, in ascending order of owner.
pub(crate) fn lock_all(tx: &mut Tx<'_>, owners: &[UserId]) -> Result<()> {
    let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    tx.lock(
        "SELECT 1 FROM mailboxes WHERE owner_id IN rarray(?1)
         ORDER BY owner_id FOR UPDATE",
        &params![&*ids],
    )?;
    Ok(())
}
