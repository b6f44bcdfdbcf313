//! Accounts.

mod erase;
mod people;
mod profile;

use db::{Row, Tx, params};

pub use self::erase::erase;
pub use self::people::{ERASED, LOOKED_UP, Person, lookup, people, person};
pub use self::profile::{AcceptFrom, Profile, ProfileChange, profile, update};
use crate::key::Key;
use crate::text::{DisplayName, Email, Username};
use crate::webhooks::{self, News};
use crate::{Cx, Error, Result, Time, UserId, mailbox, sessions, tokens};

/// A user as an operator sees one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who it is.
    pub id: UserId,
    /// The name as its owner wrote it.
    pub name: String,
    /// The address.
    pub email: String,
    /// When the account was made.
    pub created_at: Time,
    /// Since when the account is disabled.
    pub disabled_at: Option<Time>,
}

/// What a password is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Whose they are.
    pub user: UserId,
    /// The hash, a PHC string.
    pub password_hash: String,
}

/// Makes an account with an empty mailbox.
///
/// # Errors
/// [`Error::NameTaken`] where somebody has that name in whatever case.
pub fn create(
    tx: &mut Tx<'_>,
    cx: &Cx,
    name: &Username,
    display_name: Option<&DisplayName>,
    email: &Email,
    password_hash: &str,
) -> Result<UserId> {
    let made = tx.insert(
        "INSERT INTO users
         (name, name_folded, display_name, display_folded, email, password_hash, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &params![
            name.shown(),
            name.folded(),
            display_name.map_or("", DisplayName::shown),
            display_name.map_or("", DisplayName::folded),
            email.as_str(),
            password_hash,
            cx.now
        ],
    );
    let id = match made {
        Ok(id) => UserId::stored(id),
        Err(db::Error::Unique(constraint)) if constraint == "users_name_folded_key" => {
            return Err(Error::NameTaken);
        }
        Err(error) => return Err(error.into()),
    };
    tx.execute("INSERT INTO mailboxes (owner_id, counter) VALUES (?1, 0)", &params![id])?;
    webhooks::tell(tx, cx, &News::UserCreated(id))?;
    Ok(id)
}

/// Whom a name belongs to, whatever its case; an erased user has none.
pub fn find(tx: &mut Tx<'_>, folded: &str) -> Result<Option<User>> {
    Ok(tx.query_opt(
        "SELECT id, name, email, created_at, disabled_at FROM users
         WHERE name_folded = ?1 AND erased_at IS NULL",
        &params![folded],
        user,
    )?)
}

/// What the password of that name is checked against; a disabled user has nothing.
pub fn credentials(tx: &mut Tx<'_>, folded: &str) -> Result<Option<Credentials>> {
    Ok(tx.query_opt(
        "SELECT id, password_hash FROM users WHERE name_folded = ?1 AND disabled_at IS NULL",
        &params![folded],
        read_credentials,
    )?)
}

/// What the password of that user is checked against; a disabled user has nothing.
pub fn credentials_of(tx: &mut Tx<'_>, user: UserId) -> Result<Option<Credentials>> {
    Ok(tx.query_opt(
        "SELECT id, password_hash FROM users WHERE id = ?1 AND disabled_at IS NULL",
        &params![user],
        read_credentials,
    )?)
}

/// Makes sure that what a password was checked against still holds, in the transaction of what
/// the password allows.
///
/// # Errors
/// [`Error::AuthenticationFailed`] where the password was changed or the account disabled since
/// the credentials were read.
pub fn confirm(tx: &mut Tx<'_>, credentials: &Credentials) -> Result<()> {
    lock(tx, credentials.user)?;
    let good = tx.query_opt(
        "SELECT 1 FROM users WHERE id = ?1 AND password_hash = ?2 AND disabled_at IS NULL",
        &params![credentials.user, credentials.password_hash.as_str()],
        |_| Ok(()),
    )?;
    good.ok_or(Error::AuthenticationFailed)
}

/// Makes sure that a user who calls was not disabled in the meantime.
///
/// # Errors
/// [`Error::NotLoggedIn`] where that is so.
pub(crate) fn confirm_enabled(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    lock(tx, user)?;
    let enabled = tx.query_opt(
        "SELECT 1 FROM users WHERE id = ?1 AND disabled_at IS NULL",
        &params![user],
        |_| Ok(()),
    )?;
    enabled.ok_or(Error::NotLoggedIn)
}

/// Locks the account: what is allowed now must not be forbidden before it is done. Where a mailbox
/// is locked as well, that comes first.
fn lock(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    tx.lock("SELECT 1 FROM users WHERE id = ?1 FOR UPDATE", &params![user])?;
    Ok(())
}

/// Whether there is such a user, disabled or not, and not erased.
pub(crate) fn is_there(tx: &mut Tx<'_>, user: UserId) -> Result<bool> {
    let found = tx.query_opt(
        "SELECT 1 FROM users WHERE id = ?1 AND erased_at IS NULL",
        &params![user],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Up to `limit` users in the order of their ids, those after `after` (0: from the first), without
/// the erased.
pub fn list(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<User>> {
    Ok(tx.query(
        "SELECT id, name, email, created_at, disabled_at FROM users
         WHERE id > ?1 AND erased_at IS NULL ORDER BY id LIMIT ?2",
        &params![after, limit],
        user,
    )?)
}

/// Sets another password and ends all sessions and tokens.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user.
pub fn set_password(tx: &mut Tx<'_>, user: UserId, password_hash: &str) -> Result<()> {
    let changed = tx.execute(
        "UPDATE users SET password_hash = ?2 WHERE id = ?1 AND erased_at IS NULL",
        &params![user, password_hash],
    )?;
    shut_out(tx, user, changed)
}

/// Sets another password where `old` was checked against, and ends all sessions and tokens but
/// `keep`.
///
/// # Errors
/// [`Error::AuthenticationFailed`] where the password was changed or the account disabled since
/// `old` was read.
pub fn change_password(
    tx: &mut Tx<'_>,
    old: &Credentials,
    password_hash: &str,
    keep: Option<&Key>,
) -> Result<()> {
    let changed = tx.execute(
        "UPDATE users SET password_hash = ?3
         WHERE id = ?1 AND password_hash = ?2 AND disabled_at IS NULL",
        &params![old.user, old.password_hash.as_str(), password_hash],
    )?;
    if changed == 0 {
        return Err(Error::AuthenticationFailed);
    }
    sessions::end_others(tx, old.user, keep)?;
    tokens::end_others(tx, old.user, keep)
}

/// Disables an account: its sessions and tokens end, nobody can log in to it or write to it. What
/// it holds stays. Repeating it changes nothing.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user.
pub fn disable(tx: &mut Tx<'_>, cx: &Cx, user: UserId) -> Result<()> {
    mailbox::lock(tx, user)?;
    let disabled = tx.execute(
        "UPDATE users SET disabled_at = coalesce(disabled_at, ?2)
         WHERE id = ?1 AND erased_at IS NULL",
        &params![user, cx.now],
    )?;
    shut_out(tx, user, disabled)?;
    tx.execute(
        "UPDATE mailboxes SET closed_at = coalesce(closed_at, ?2) WHERE owner_id = ?1",
        &params![user, cx.now],
    )?;
    Ok(())
}

/// Ends all sessions and tokens of a user, of whom there must have been a row to change.
fn shut_out(tx: &mut Tx<'_>, user: UserId, changed: u64) -> Result<()> {
    if changed == 0 {
        return Err(Error::UnknownUser);
    }
    sessions::end_all(tx, user)?;
    tokens::end_all(tx, user)
}

/// Enables a disabled account again.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user.
pub fn enable(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    mailbox::lock(tx, user)?;
    let enabled = tx.execute(
        "UPDATE users SET disabled_at = NULL WHERE id = ?1 AND erased_at IS NULL",
        &params![user],
    )?;
    if enabled == 0 {
        return Err(Error::UnknownUser);
    }
    tx.execute("UPDATE mailboxes SET closed_at = NULL WHERE owner_id = ?1", &params![user])?;
    Ok(())
}

fn read_credentials(row: &Row<'_>) -> db::Result<Credentials> {
    Ok(Credentials { user: UserId::stored(row.int(0)?), password_hash: row.text(1)?.to_owned() })
}

fn user(row: &Row<'_>) -> db::Result<User> {
    Ok(User {
        id: UserId::stored(row.int(0)?),
        name: row.text(1)?.to_owned(),
        email: row.text(2)?.to_owned(),
        created_at: Time(row.int(3)?),
        disabled_at: row.opt_int(4)?.map(Time),
    })
}
