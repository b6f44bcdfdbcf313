//! Whether a user may sign in: passwords, disabling and enabling.

use db::{Tx, params};

use super::{StoredPassword, confirm_person};
use crate::accounts::passwords::MovedHash;
use crate::accounts::{modseq, throttle};
use crate::base::{Credential, CredentialKind, Cx, Error, Result, Time, UserId};
use crate::outbox::notices;

/// How long after it was issued for a password a credential may do what cannot be undone.
const FRESH: i64 = 10 * Time::MINUTE;

/// Sets a new password and ends all sessions and tokens. No address is familiar any more.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user; [`Error::SystemUser`].
pub fn set_password(tx: &mut Tx<'_>, user: UserId, password_hash: &str) -> Result<()> {
    confirm_person(tx, user)?;
    let changed = tx.execute(
        "UPDATE users SET password_hash = ?2, password_wait = 0
         WHERE id = ?1 AND erased_at IS NULL",
        &params![user, password_hash],
    )?;
    throttle::forget_addresses(tx, user)?;
    end_access(tx, user, changed)
}

/// Replaces the password whose hash is `old`, and ends all sessions and tokens but `keep`. No
/// address is familiar any more.
///
/// # Errors
/// [`Error::AuthenticationFailed`] where the password was changed or the account disabled since
/// `old` was read.
pub fn change_password(
    tx: &mut Tx<'_>,
    old: &StoredPassword,
    password_hash: &str,
    keep: Option<&Credential>,
) -> Result<()> {
    let changed = tx.execute(
        "UPDATE users SET password_hash = ?3, password_wait = 0
         WHERE id = ?1 AND password_hash = ?2 AND disabled_at IS NULL",
        &params![old.user, old.hash.as_str(), password_hash],
    )?;
    if changed == 0 {
        return Err(Error::AuthenticationFailed);
    }
    throttle::forget_addresses(tx, old.user)?;
    end_credentials(tx, old.user, keep)
}

/// Sets a password that another program has hashed. Sessions and tokens stay.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user; [`Error::SystemUser`].
pub fn set_moved_password(tx: &mut Tx<'_>, user: UserId, hash: &MovedHash) -> Result<()> {
    confirm_person(tx, user)?;
    tx.execute(
        "UPDATE users SET password_hash = ?2, password_wait = ?3
         WHERE id = ?1 AND erased_at IS NULL",
        &params![user, hash.as_str(), hash.wait()],
    )?;
    Ok(())
}

/// Replaces the hash of a password that was right by another one of the same password, and returns
/// what is stored now. Sessions, tokens and familiar addresses stay. Where the password was changed
/// since, nothing happens, and [`confirm`](super::confirm) refuses what it was for.
pub fn upgrade_password(
    tx: &mut Tx<'_>,
    old: &StoredPassword,
    password_hash: &str,
) -> Result<StoredPassword> {
    tx.execute(
        "UPDATE users SET password_hash = ?3, password_wait = 0
         WHERE id = ?1 AND password_hash = ?2",
        &params![old.user, old.hash.as_str(), password_hash],
    )?;
    Ok(StoredPassword { user: old.user, hash: password_hash.to_owned() })
}

/// How many milliseconds a failed sign-in takes at least: as long as it takes to verify the
/// costliest of the hashes that came from other programs; 0 where there is none.
pub fn longest_wait(tx: &mut Tx<'_>) -> Result<u64> {
    let longest = tx.query_opt(
        "SELECT password_wait FROM users WHERE password_wait > 0
         ORDER BY password_wait DESC LIMIT 1",
        &params![],
        |row| row.int(0),
    )?;
    Ok(longest.map_or(0, i64::unsigned_abs))
}

/// Disables an account: its sessions and tokens end, and nobody can sign in or write to it. Its
/// mailbox stays. Repeating it changes nothing.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user.
pub fn disable(tx: &mut Tx<'_>, cx: &Cx, user: UserId) -> Result<()> {
    modseq::lock(tx, user)?;
    let disabled = tx.execute(
        "UPDATE users SET disabled_at = coalesce(disabled_at, ?2),
             updated_at = CASE WHEN disabled_at IS NULL THEN ?2 ELSE updated_at END
         WHERE id = ?1 AND erased_at IS NULL",
        &params![user, cx.now],
    )?;
    end_access(tx, user, disabled)?;
    end_jwts(tx, cx, user)?;
    tx.execute(
        "UPDATE mailboxes SET closed_at = coalesce(closed_at, ?2) WHERE owner_id = ?1",
        &params![user, cx.now],
    )?;
    Ok(())
}

/// Ends all sessions and tokens of a user whose row was changed in `changed` rows.
fn end_access(tx: &mut Tx<'_>, user: UserId, changed: u64) -> Result<()> {
    if changed == 0 {
        return Err(Error::UnknownUser);
    }
    end_credentials(tx, user, None)
}

/// Ends all sessions and tokens of a user but `keep`. A JWT is not ours, and stays.
pub fn end_credentials(tx: &mut Tx<'_>, user: UserId, keep: Option<&Credential>) -> Result<()> {
    // No hash is empty, so with nothing to keep all end.
    let kept = keep.map_or(&[][..], |keep| keep.hash());
    for sql in [
        "DELETE FROM sessions WHERE user_id = ?1 AND token_hash <> ?2",
        "DELETE FROM tokens WHERE user_id = ?1 AND token_hash <> ?2",
    ] {
        tx.execute(sql, &params![user, kept])?;
    }
    tx.execute(
        "UPDATE users SET token_generation = token_generation + 1 WHERE id = ?1",
        &params![user],
    )?;
    notices::send(tx, notices::ACCESS, user);
    Ok(())
}

/// Ends the JWTs of a user that were issued until now: one that is reactivated needs another.
pub(super) fn end_jwts(tx: &mut Tx<'_>, cx: &Cx, user: UserId) -> Result<()> {
    tx.execute("UPDATE users SET tokens_revoked_at = ?2 WHERE id = ?1", &params![user, cx.now])?;
    Ok(())
}

/// Whether a credential was issued for a password a short while ago.
///
/// # Errors
/// [`Error::NotLoggedIn`] where it has ended.
pub(super) fn is_fresh(tx: &mut Tx<'_>, cx: &Cx, credential: &Credential) -> Result<bool> {
    let params = params![credential.user, credential.hash()];
    // A session is always started by a password.
    let issued = match credential.kind {
        CredentialKind::Session => tx.query_opt(
            "SELECT created_at FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
            &params,
            |row| Ok((Time(row.int(0)?), true)),
        ),
        CredentialKind::Token => tx.query_opt(
            "SELECT created_at, by_password FROM tokens WHERE user_id = ?1 AND token_hash = ?2",
            &params,
            |row| Ok((Time(row.int(0)?), row.int(1)? == 1)),
        ),
        // The app vouches for the user, and no password was given.
        CredentialKind::ServerKey | CredentialKind::Browser => return Ok(false),
    }?;
    let (created_at, by_password) = issued.ok_or(Error::NotLoggedIn)?;
    Ok(by_password && created_at.runs(FRESH, cx.now))
}

/// Enables a disabled account again.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user.
pub fn enable(tx: &mut Tx<'_>, cx: &Cx, user: UserId) -> Result<()> {
    modseq::lock(tx, user)?;
    let enabled = tx.execute(
        "UPDATE users SET disabled_at = NULL,
             updated_at = CASE WHEN disabled_at IS NULL THEN updated_at ELSE ?2 END
         WHERE id = ?1 AND erased_at IS NULL",
        &params![user, cx.now],
    )?;
    if enabled == 0 {
        return Err(Error::UnknownUser);
    }
    tx.execute("UPDATE mailboxes SET closed_at = NULL WHERE owner_id = ?1", &params![user])?;
    Ok(())
}
