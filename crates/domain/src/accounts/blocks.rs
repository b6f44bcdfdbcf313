//! Blocks: users whose messages an owner does not take.

use db::{Tx, params};

use crate::accounts::{modseq, users};
use crate::base::{Cx, Error, Invalid, Result, Time, UserId};

/// A blocked user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The user.
    pub user: UserId,
    /// When they were blocked.
    pub created_at: Time,
}

/// Up to `limit` of the users whom the owner blocks, descending by id, with ids below `before`.
pub fn list(
    tx: &mut Tx<'_>,
    owner: UserId,
    before: Option<UserId>,
    limit: i64,
) -> Result<Vec<Block>> {
    Ok(tx.query(
        "SELECT blocked_id, created_at FROM blocks WHERE owner_id = ?1 AND blocked_id < ?2
         ORDER BY blocked_id DESC LIMIT ?3",
        &params![owner, before.map_or(i64::MAX, UserId::get), limit],
        |row| Ok(Block { user: UserId::stored(row.int(0)?), created_at: Time(row.int(1)?) }),
    )?)
}

/// Blocks a user. Repeating it changes nothing.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user;
/// [`Error::SystemUser`], whom nobody can block;
/// [`Error::Invalid`] where it is the owner;
/// [`Error::NotLoggedIn`] where the owner was disabled meanwhile.
pub fn put(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, user: UserId) -> Result<()> {
    if user == owner {
        return Err(Invalid::new("user", "you cannot block yourself").into());
    }
    modseq::lock(tx, owner)?;
    users::confirm_person(tx, user)?;
    users::confirm_enabled(tx, owner)?;
    let added = tx.execute(
        "INSERT INTO blocks (owner_id, blocked_id, created_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (owner_id, blocked_id) DO NOTHING",
        &params![owner, user, cx.now],
    )?;
    if added == 1 {
        tx.execute(
            "UPDATE mailboxes SET blocks = blocks + 1 WHERE owner_id = ?1",
            &params![owner],
        )?;
    }
    Ok(())
}

/// Removes a block. Repeating it changes nothing.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user, nor a block from when there was.
pub fn remove(tx: &mut Tx<'_>, owner: UserId, user: UserId) -> Result<()> {
    modseq::lock(tx, owner)?;
    let removed = tx.execute(
        "DELETE FROM blocks WHERE owner_id = ?1 AND blocked_id = ?2",
        &params![owner, user],
    )?;
    if removed == 1 {
        tx.execute(
            "UPDATE mailboxes SET blocks = blocks - 1 WHERE owner_id = ?1",
            &params![owner],
        )?;
    } else if users::resolve(tx, &user.into())?.is_none() {
        return Err(Error::UnknownUser);
    }
    Ok(())
}
