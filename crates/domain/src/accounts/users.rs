//! Accounts: creating and finding users.

mod access;
mod app;
mod erase;
mod link;
mod lookup;
mod moved;
mod people;
mod profile;
mod put;
mod refs;
mod reserved;
mod system;

use db::{Row, Tx, params};

pub use self::access::{
    change_password, disable, enable, end_credentials, longest_wait, set_moved_password,
    set_password, upgrade_password,
};
pub use self::app::{AppUser, Logins, app_user, changed_since, logins};
pub use self::erase::{Proof, erase, erase_and_withdraw, erase_own, is_erased};
pub use self::link::link;
pub use self::lookup::{LOOKED_UP, index_names, lookup};
pub use self::moved::{Found, MovedUser, find_moved, highest_id, insert_moved, update_moved};
pub(crate) use self::people::person_columns;
pub use self::people::{ERASED, Kind, Person, names_tag, people, person};
pub use self::profile::{AcceptFrom, Profile, ProfileChange, profile, set_reminders, update};
pub use self::put::{Put, PutStatus, UserChange, can_repeat, put, put_all};
pub use self::refs::{Standing, id_of, resolve, resolve_all, standing};
pub use self::reserved::purge_reserved_names;
pub(crate) use self::system::NO_REPLIES;
pub use self::system::{
    confirm_not_reserved, confirm_person, kind, make_system, set_replies, takes_replies,
};
use crate::base::text::{DisplayName, Email, Username};
use crate::base::{Cx, Error, EventKind, Invalid, Result, Time, UserId, UserRef};
use crate::outbox::webhooks::{self, Occurrence};

/// A user as an operator sees one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The username as its owner wrote it.
    pub name: String,
    /// The e-mail address; empty where there is none.
    pub email: String,
    /// When the account was created.
    pub created_at: Time,
    /// When the account was disabled.
    pub disabled_at: Option<Time>,
}

/// The password hash that a sign-in is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPassword {
    /// The owner.
    pub user: UserId,
    /// The hash, a PHC string.
    pub hash: String,
}

/// Creates an account with an empty mailbox.
///
/// # Errors
/// [`Error::NameTaken`] where a user has that name, whatever its case, or an erased account had it
/// and it is reserved; [`Error::NameReserved`] where a system user is called by one of the names;
/// [`Error::Invalid`] where nobody can choose it.
pub fn create(
    tx: &mut Tx<'_>,
    cx: &Cx,
    name: &Username,
    display_name: Option<&DisplayName>,
    email: &Email,
    password_hash: &str,
) -> Result<UserId> {
    refuse_reserved(name)?;
    let shown = display_name.map_or("", DisplayName::shown);
    let made = tx.insert(
        "INSERT INTO users (name, name_folded, display_name, words_of, display_folded, email,
             password_hash, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?1 || ' ' || ?3, ?4, ?5, ?6, ?7, ?7)",
        &params![
            name.shown(),
            name.folded(),
            shown,
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
    // After the insert, which waits for the one who has the name: they may just be erasing it.
    confirm_nobody_had(tx, cx, name, display_name)?;
    tx.execute("INSERT INTO mailboxes (owner_id, modseq) VALUES (?1, 0)", &params![id])?;
    lookup::add_words(tx, &[(id, name.shown(), shown)])?;
    webhooks::emit(tx, cx, EventKind::UserCreated, &Occurrence::user(id))?;
    Ok(id)
}

/// Looks whether an account could be created now, so that nobody hashes a password in vain.
///
/// # Errors
/// As [`create`].
pub fn confirm_free(
    tx: &mut Tx<'_>,
    cx: &Cx,
    name: &Username,
    display_name: Option<&DisplayName>,
) -> Result<()> {
    refuse_reserved(name)?;
    if resolve(tx, &UserRef::Name(name.folded().to_owned()))?.is_some() {
        return Err(Error::NameTaken);
    }
    confirm_nobody_had(tx, cx, name, display_name)
}

/// Makes sure that a new person of these names takes none of a system user's, nor one that an
/// erased account had.
///
/// # Errors
/// [`Error::NameTaken`]; [`Error::NameReserved`].
pub fn confirm_names(
    tx: &mut Tx<'_>,
    cx: &Cx,
    name: Option<&Username>,
    display_name: Option<&DisplayName>,
) -> Result<()> {
    if let Some(name) = name {
        return confirm_nobody_had(tx, cx, name, display_name);
    }
    display_name.map_or(Ok(()), |name| confirm_not_reserved(tx, None, "display_name", name.shown()))
}

/// Refuses the names of system users, and a username of somebody who erased their account.
fn confirm_nobody_had(
    tx: &mut Tx<'_>,
    cx: &Cx,
    name: &Username,
    display_name: Option<&DisplayName>,
) -> Result<()> {
    if reserved::is_reserved(tx, cx, name.folded())? {
        return Err(Error::NameTaken);
    }
    confirm_not_reserved(tx, None, "username", name.shown())?;
    display_name.map_or(Ok(()), |name| confirm_not_reserved(tx, None, "display_name", name.shown()))
}

/// Refuses a name that nobody can choose.
fn refuse_reserved(name: &Username) -> Result<()> {
    if name.is_reserved() {
        let problem = "it is reserved: me, and user- with a number, cannot be chosen";
        return Err(Invalid::new("username", problem).into());
    }
    Ok(())
}

/// The user of that folded name, disabled or not.
pub fn find(tx: &mut Tx<'_>, of: &UserRef) -> Result<Option<User>> {
    let Some(id) = resolve(tx, of)? else { return Ok(None) };
    Ok(tx.query_opt(
        "SELECT id, name, email, created_at, disabled_at FROM users
         WHERE id = ?1 AND erased_at IS NULL",
        &params![id],
        user,
    )?)
}

/// The password hash of the user of that folded name; `None` for a disabled user, and for one
/// without a password.
pub fn password(tx: &mut Tx<'_>, folded: &str) -> Result<Option<StoredPassword>> {
    Ok(tx.query_opt(
        "SELECT id, password_hash FROM users
         WHERE name_folded = ?1 AND disabled_at IS NULL AND password_hash <> ''",
        &params![folded],
        stored_password,
    )?)
}

/// The password hash of that user; `None` for a disabled one, and for one without a password.
pub fn password_of(tx: &mut Tx<'_>, user: UserId) -> Result<Option<StoredPassword>> {
    Ok(tx.query_opt(
        "SELECT id, password_hash FROM users
         WHERE id = ?1 AND disabled_at IS NULL AND password_hash <> ''",
        &params![user],
        stored_password,
    )?)
}

/// Makes sure, in the transaction of what the password allows, that the hash that it was checked
/// against is still the user's.
///
/// # Errors
/// [`Error::AuthenticationFailed`] where the password was changed or the account disabled since
/// the hash was read.
pub fn confirm(tx: &mut Tx<'_>, checked: &StoredPassword) -> Result<()> {
    lock(tx, checked.user)?;
    let good = tx.query_opt(
        "SELECT 1 FROM users WHERE id = ?1 AND password_hash = ?2 AND disabled_at IS NULL",
        &params![checked.user, checked.hash.as_str()],
        |_| Ok(()),
    )?;
    good.ok_or(Error::AuthenticationFailed)
}

/// Makes sure that the calling user was not disabled meanwhile.
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

/// Locks the account, so that what is allowed now is still allowed at the commit. A mailbox that
/// is locked as well comes first.
pub(super) fn lock(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    tx.lock("SELECT 1 FROM users WHERE id = ?1 FOR UPDATE", &params![user])?;
    Ok(())
}

/// Up to `limit` users with ids above `after`, ascending, without the erased.
pub fn list(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<User>> {
    Ok(tx.query(
        "SELECT id, name, email, created_at, disabled_at FROM users
         WHERE id > ?1 AND erased_at IS NULL ORDER BY id LIMIT ?2",
        &params![after, limit],
        user,
    )?)
}

fn stored_password(row: &Row<'_>) -> db::Result<StoredPassword> {
    Ok(StoredPassword { user: UserId::stored(row.int(0)?), hash: row.text(1)?.to_owned() })
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
