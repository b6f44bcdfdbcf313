//! Accounts.

use db::{Row, Tx, params};

use crate::text::{Email, Username};
use crate::{Cx, Error, Result, Time, UserId, sessions};

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
    email: &Email,
    password_hash: &str,
) -> Result<UserId> {
    let made = tx.insert(
        "INSERT INTO users (name, name_folded, email, password_hash, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        &params![name.shown(), name.folded(), email.as_str(), password_hash, cx.now],
    );
    let id = match made {
        Ok(id) => UserId::stored(id),
        Err(db::Error::Unique(constraint)) if constraint == "users_name_folded_key" => {
            return Err(Error::NameTaken);
        }
        Err(error) => return Err(error.into()),
    };
    tx.execute("INSERT INTO mailboxes (owner_id, counter) VALUES (?1, 0)", &params![id])?;
    Ok(id)
}

/// Whom a name belongs to, whatever its case.
pub fn find(tx: &mut Tx<'_>, folded: &str) -> Result<Option<User>> {
    Ok(tx.query_opt(
        "SELECT id, name, email, created_at, disabled_at FROM users WHERE name_folded = ?1",
        &params![folded],
        user,
    )?)
}

/// What the password of that name is checked against; a disabled user has nothing.
pub fn credentials(tx: &mut Tx<'_>, folded: &str) -> Result<Option<Credentials>> {
    Ok(tx.query_opt(
        "SELECT id, password_hash FROM users WHERE name_folded = ?1 AND disabled_at IS NULL",
        &params![folded],
        |row| {
            Ok(Credentials {
                user: UserId::stored(row.int(0)?),
                password_hash: row.text(1)?.to_owned(),
            })
        },
    )?)
}

/// Up to `limit` users in the order of their ids, those after `after` (0: from the first).
pub fn list(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<User>> {
    Ok(tx.query(
        "SELECT id, name, email, created_at, disabled_at FROM users
         WHERE id > ?1 ORDER BY id LIMIT ?2",
        &params![after, limit],
        user,
    )?)
}

/// Sets another password and ends all sessions.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user.
pub fn set_password(tx: &mut Tx<'_>, user: UserId, password_hash: &str) -> Result<()> {
    let changed = tx.execute(
        "UPDATE users SET password_hash = ?2 WHERE id = ?1",
        &params![user, password_hash],
    )?;
    if changed == 0 {
        return Err(Error::UnknownUser);
    }
    sessions::end_all(tx, user)
}

/// Disables an account: its sessions end, nobody can log in to it or write to it. What it holds
/// stays. Repeating it changes nothing.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user.
pub fn disable(tx: &mut Tx<'_>, cx: &Cx, user: UserId) -> Result<()> {
    let closed = tx.execute(
        "UPDATE mailboxes SET closed_at = coalesce(closed_at, ?2) WHERE owner_id = ?1",
        &params![user, cx.now],
    )?;
    if closed == 0 {
        return Err(Error::UnknownUser);
    }
    tx.execute(
        "UPDATE users SET disabled_at = coalesce(disabled_at, ?2) WHERE id = ?1",
        &params![user, cx.now],
    )?;
    sessions::end_all(tx, user)
}

/// Enables a disabled account again.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user.
pub fn enable(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    let opened =
        tx.execute("UPDATE mailboxes SET closed_at = NULL WHERE owner_id = ?1", &params![user])?;
    if opened == 0 {
        return Err(Error::UnknownUser);
    }
    tx.execute("UPDATE users SET disabled_at = NULL WHERE id = ?1", &params![user])?;
    Ok(())
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
