//! Erasing an account.

use db::{Tx, params};

use super::access::{end_credentials, is_fresh};
use super::{StoredPassword, confirm, reserved};
use crate::accounts::{modseq, throttle};
use crate::base::{Credential, Cx, Error, EventKind, Result, UserId, UserRef};
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
/// name its id. The mailbox is closed at once, and purged later. An external id creates nobody from
/// now on.
///
/// # Errors
/// [`Error::UnknownUser`] where the user does not exist or is erased.
pub fn erase(tx: &mut Tx<'_>, cx: &Cx, owner: UserId) -> Result<()> {
    erase_account(tx, cx, owner, false)
}

/// The same, and withdraws later what the user has sent, from every mailbox, read or not.
///
/// # Errors
/// As [`erase`].
pub fn erase_and_withdraw(tx: &mut Tx<'_>, cx: &Cx, owner: UserId) -> Result<()> {
    erase_account(tx, cx, owner, true)
}

fn erase_account(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, withdraws: bool) -> Result<()> {
    modseq::lock(tx, owner)?;
    let names = tx.query_opt(
        "SELECT name_folded, external_id FROM users WHERE id = ?1 AND erased_at IS NULL",
        &params![owner],
        |row| Ok((row.text(0)?.to_owned(), row.opt_text(1)?.map(str::to_owned))),
    )?;
    let (folded, external_id) = names.ok_or(Error::UnknownUser)?;
    // While the user still has the external id that the event names.
    webhooks::emit(tx, cx, EventKind::UserErased, &Occurrence::user(owner))?;
    // A username cannot contain `#`, so the stub takes no name away and is never found.
    let nameless = format!("#{}", owner.get());
    tx.execute(
        "UPDATE users SET name = '', name_folded = ?2, display_name = '', words_of = ' ',
         display_folded = '', email = '', password_hash = '', password_wait = 0,
         reminders_off_at = NULL,
         external_id = NULL, app_version = NULL, findable = 1,
         token_generation = 0, tokens_revoked_at = NULL,
         updated_at = ?3, disabled_at = ?3, erased_at = ?3
         WHERE id = ?1",
        &params![owner, nameless.as_str(), cx.now],
    )?;
    reserved::reserve(tx, cx, &folded)?;
    if let Some(external_id) = external_id {
        reserved::bury(tx, cx, &external_id)?;
    }
    throttle::forget_account(tx, owner, &folded)?;
    end_credentials(tx, owner, None)?;
    for statement in [
        "DELETE FROM name_words WHERE user_id = ?1",
        "DELETE FROM blocks WHERE owner_id = ?1",
        "DELETE FROM quotas WHERE owner_id = ?1",
        "DELETE FROM stored_responses WHERE owner_id = ?1",
        "DELETE FROM stored_counts WHERE owner_id = ?1",
        "DELETE FROM reminders WHERE owner_id = ?1",
        "DELETE FROM revoked_sessions WHERE user_id = ?1",
        "DELETE FROM unread_changes WHERE owner_id = ?1",
    ] {
        tx.execute(statement, &params![owner])?;
    }
    if !withdraws {
        // They say from whose mailboxes messages are withdrawn.
        tx.execute("DELETE FROM contacts WHERE owner_id = ?1", &params![owner])?;
    }
    tx.execute(
        "INSERT INTO erasures (owner_id, withdraws) VALUES (?1, ?2)",
        &params![owner, withdraws],
    )?;
    tx.execute(
        "UPDATE mailboxes SET closed_at = ?2, blocks = 0, accept_from = 0 WHERE owner_id = ?1",
        &params![owner, cx.now],
    )?;
    notices::send(tx, notices::ERASED, owner);
    Ok(())
}

/// Whether a ref is that of an erased user, as far as that can be known: not by a name.
pub fn is_erased(tx: &mut Tx<'_>, cx: &Cx, of: &UserRef) -> Result<bool> {
    match of {
        UserRef::Id(id) => {
            let erased = tx.query_opt(
                "SELECT 1 FROM users WHERE id = ?1 AND erased_at IS NOT NULL",
                &params![*id],
                |_| Ok(()),
            )?;
            Ok(erased.is_some())
        }
        UserRef::External(id) => reserved::is_buried(tx, cx, id.as_str()),
        UserRef::Name(_) => Ok(false),
    }
}
