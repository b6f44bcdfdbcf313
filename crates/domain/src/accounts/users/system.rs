//! System users: senders such as "Orders" or "Support" that belong to the app rather than to a
//! person. Nobody signs in or acts as one, look-ups do not find one, and nobody can block one.

use db::{Tx, params};

use super::people::{ERASED, Kind};
use crate::base::text::fold_look;
use crate::base::{Error, Result, UserId};

/// The kind of a user; `None` where there is none, or they were erased.
pub fn kind(tx: &mut Tx<'_>, user: UserId) -> Result<Option<Kind>> {
    Ok(tx.query_opt(
        "SELECT kind FROM users WHERE id = ?1 AND erased_at IS NULL",
        &params![user],
        |row| Kind::stored(0, row.int(0)?),
    )?)
}

/// Makes a user that was created in the same transaction a system user, which takes replies or
/// does not. The kind of a user never changes after that.
pub fn make_system(tx: &mut Tx<'_>, user: UserId, replies: bool) -> Result<()> {
    tx.execute("UPDATE users SET kind = 1 WHERE id = ?1", &params![user])?;
    set_replies(tx, user, replies)
}

/// What `accept_from` of a mailbox is where it belongs to a system user that takes no replies. So
/// the statement that admits a message to most mailboxes refuses these without looking further.
pub(crate) const NO_REPLIES: i64 = 3;

/// Sets whether a system user takes replies. Changes nothing for a person.
pub fn set_replies(tx: &mut Tx<'_>, user: UserId, replies: bool) -> Result<()> {
    if kind(tx, user)? == Some(Kind::System) {
        let accept_from = if replies { 0 } else { NO_REPLIES };
        tx.execute(
            "UPDATE mailboxes SET accept_from = ?2 WHERE owner_id = ?1",
            &params![user, accept_from],
        )?;
    }
    Ok(())
}

/// Whether a system user takes replies; a person always does, as far as this is concerned.
pub fn takes_replies(tx: &mut Tx<'_>, user: UserId) -> Result<bool> {
    let refuses = tx.query_opt(
        "SELECT 1 FROM mailboxes WHERE owner_id = ?1 AND accept_from = ?2",
        &params![user, NO_REPLIES],
        |_| Ok(()),
    )?;
    Ok(refuses.is_none())
}

/// Makes sure that a user, or one who is being created, may be called by a name: no system user but
/// themselves is called that, or looks so ([`fold_look`]), and it is not that of an erased one. Who
/// is called that already keeps the name. An empty one, such as an erased system user has, is
/// nobody's.
///
/// # Errors
/// [`Error::NameReserved`] with the name of the field.
pub fn confirm_not_reserved(
    tx: &mut Tx<'_>,
    user: Option<UserId>,
    field: &'static str,
    name: &str,
) -> Result<()> {
    let (folded, user) = (fold_look(name), user.map_or(0, UserId::get));
    if folded.is_empty() {
        return Ok(());
    }
    let called_so = tx.query(
        "SELECT id, kind FROM users WHERE display_folded = ?1 AND kind = 1
         UNION ALL SELECT id, kind FROM users WHERE name_folded = ?1",
        &params![folded.as_str()],
        |row| Ok((row.int(0)?, Kind::stored(1, row.int(1)?)?)),
    )?;
    // Signs between or around the letters make it no other name.
    let is_erased = folded.chars().filter(|c| c.is_alphanumeric()).eq(fold_look(ERASED).chars());
    let is_theirs = called_so.iter().any(|(id, kind)| *kind == Kind::System && *id != user);
    if !is_theirs && !is_erased {
        return Ok(());
    }
    let kept = tx.query_opt(
        "SELECT 1 FROM users WHERE id = ?1 AND display_folded = ?2",
        &params![user, folded.as_str()],
        |_| Ok(()),
    )?;
    kept.ok_or(Error::NameReserved(field))
}

/// Makes sure that a user is not a system user, for what only people have.
///
/// # Errors
/// [`Error::SystemUser`]; [`Error::UnknownUser`] where there is none, or they were erased.
pub fn confirm_person(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    match kind(tx, user)? {
        Some(Kind::Person) => Ok(()),
        Some(Kind::System) => Err(Error::SystemUser),
        None => Err(Error::UnknownUser),
    }
}
