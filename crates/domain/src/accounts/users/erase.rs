//! Erasing an account.

use db::{Tx, params};

use super::access::end_access;
use crate::accounts::modseq;
use crate::base::{Cx, EventKind, Result, UserId};
use crate::outbox::notices;
use crate::outbox::webhooks::{self, Occurrence};

/// Erases an account for good: everything known of the user goes, and the name is free again. The
/// row stays as the stub [`ERASED`](super::ERASED), because messages in other mailboxes name its
/// id. The mailbox is closed at once, and purged later.
///
/// # Errors
/// [`Error::UnknownUser`](crate::Error::UnknownUser) where the user does not exist or is erased.
pub fn erase(tx: &mut Tx<'_>, cx: &Cx, owner: UserId) -> Result<()> {
    modseq::lock(tx, owner)?;
    // A username cannot contain `#`, so the stub takes no name away and is never found.
    let nameless = format!("#{}", owner.get());
    let erased = tx.execute(
        "UPDATE users SET name = '', name_folded = ?2, display_name = '', words_of = ' ',
         display_folded = '', email = '', password_hash = '', reminders_off_at = NULL,
         disabled_at = ?3, erased_at = ?3
         WHERE id = ?1 AND erased_at IS NULL",
        &params![owner, nameless.as_str(), cx.now],
    )?;
    end_access(tx, owner, erased)?;
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
        "UPDATE mailboxes SET closed_at = ?2, blocks = 0 WHERE owner_id = ?1",
        &params![owner, cx.now],
    )?;
    notices::send(tx, notices::ERASED, owner);
    webhooks::emit(tx, cx, EventKind::UserErased, &Occurrence::user(owner))
}
