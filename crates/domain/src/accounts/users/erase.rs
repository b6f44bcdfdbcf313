//! Erasing an account.

use db::{Tx, params};

use super::access::{end_credentials, is_fresh};
use super::{StoredPassword, confirm, reserved};
use crate::accounts::{modseq, throttle};
use crate::base::{Credential, Cx, Error, EventKind, Result, UserId};
use crate::outbox::notices;
use crate::outbox::webhooks::{self, Occurrence};

/// Why it is the owner who erases an account.
#[derive(Clone)]
pub enum Proof {
    /// A session or token that was issued for a password a short while ago.
    Credential(Credential),
    /// The password, which was checked.
    Password(StoredPassword),
}

/// Erases the account of the owner, as [`erase`] does.
///
/// # Errors
/// [`Error::FreshLoginRequired`] where the credential is too old or was not issued for a password;
/// [`Error::NotLoggedIn`] where it has ended; [`Error::AuthenticationFailed`] where the password
/// was changed since it was checked; [`Error::UnknownUser`].
pub fn erase_own(tx: &mut Tx<'_>, cx: &Cx, proof: &Proof) -> Result<()> {
    let owner = match proof {
        Proof::Credential(credential) => credential.user,
        Proof::Password(checked) => checked.user,
    };
    modseq::lock(tx, owner)?;
    match proof {
        Proof::Credential(credential) if !is_fresh(tx, cx, credential)? => {
            return Err(Error::FreshLoginRequired);
        }
        Proof::Credential(_fresh) => {}
        Proof::Password(checked) => confirm(tx, checked)?,
    }
    erase(tx, cx, owner)
}

/// Erases an account for good: everything known of the user goes, and the name is reserved for a
/// while. The row stays as the stub [`ERASED`](super::ERASED), because messages in other mailboxes
/// name its id. The mailbox is closed at once, and purged later.
///
/// # Errors
/// [`Error::UnknownUser`] where the user does not exist or is erased.
pub fn erase(tx: &mut Tx<'_>, cx: &Cx, owner: UserId) -> Result<()> {
    modseq::lock(tx, owner)?;
    let folded = tx.query_opt(
        "SELECT name_folded FROM users WHERE id = ?1 AND erased_at IS NULL",
        &params![owner],
        |row| Ok(row.text(0)?.to_owned()),
    )?;
    let folded = folded.ok_or(Error::UnknownUser)?;
    // A username cannot contain `#`, so the stub takes no name away and is never found.
    let nameless = format!("#{}", owner.get());
    tx.execute(
        "UPDATE users SET name = '', name_folded = ?2, display_name = '', words_of = ' ',
         display_folded = '', email = '', password_hash = '', reminders_off_at = NULL,
         external_id = NULL,
         disabled_at = ?3, erased_at = ?3
         WHERE id = ?1",
        &params![owner, nameless.as_str(), cx.now],
    )?;
    reserved::reserve(tx, cx, &folded)?;
    throttle::forget_account(tx, &folded)?;
    end_credentials(tx, owner, None)?;
    for statement in [
        "DELETE FROM name_words WHERE user_id = ?1",
        "DELETE FROM blocks WHERE owner_id = ?1",
        "DELETE FROM contacts WHERE owner_id = ?1",
        "DELETE FROM quotas WHERE owner_id = ?1",
        "DELETE FROM stored_responses WHERE owner_id = ?1",
        "DELETE FROM reminders WHERE owner_id = ?1",
        "INSERT INTO erasures (owner_id) VALUES (?1)",
    ] {
        tx.execute(statement, &params![owner])?;
    }
    tx.execute(
        "UPDATE mailboxes SET closed_at = ?2, blocks = 0, accept_from = 0 WHERE owner_id = ?1",
        &params![owner, cx.now],
    )?;
    notices::send(tx, notices::ERASED, owner);
    webhooks::emit(tx, cx, EventKind::UserErased, &Occurrence::user(owner))
}
