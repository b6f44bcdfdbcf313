//! The end of an account.

use db::{Tx, params};

use super::shut_out;
use crate::webhooks::{self, News};
use crate::{Cx, Result, UserId, mailbox, topics};

/// Erases an account for good: what was known of the user goes, and the name is free again. The
/// row stays as a stub, [`ERASED`](super::ERASED), for the messages of others name its id. The
/// mailbox is closed, and noted to be emptied.
///
/// # Errors
/// [`Error::UnknownUser`](crate::Error::UnknownUser) where there is no such user, or no more.
pub fn erase(tx: &mut Tx<'_>, cx: &Cx, owner: UserId) -> Result<()> {
    mailbox::lock(tx, owner)?;
    // No name can hold `#`, so the stub is in nobody's way and nobody finds it.
    let nameless = format!("#{}", owner.get());
    let erased = tx.execute(
        "UPDATE users SET name = '', name_folded = ?2, display_name = '', display_folded = '',
         email = '', password_hash = '', reminders_off_at = NULL, disabled_at = ?3, erased_at = ?3
         WHERE id = ?1 AND erased_at IS NULL",
        &params![owner, nameless.as_str(), cx.now],
    )?;
    shut_out(tx, owner, erased)?;
    for statement in [
        "DELETE FROM blocks WHERE owner_id = ?1",
        "DELETE FROM contacts WHERE owner_id = ?1",
        "DELETE FROM quotas WHERE owner_id = ?1",
        "DELETE FROM kept_answers WHERE owner_id = ?1",
        "DELETE FROM reminders WHERE owner_id = ?1",
        "INSERT INTO erasures (owner_id) VALUES (?1)",
    ] {
        tx.execute(statement, &params![owner])?;
    }
    tx.execute(
        "UPDATE mailboxes SET closed_at = ?2, blocks = 0 WHERE owner_id = ?1",
        &params![owner, cx.now],
    )?;
    topics::tell(tx, topics::ERASED, owner);
    webhooks::tell(tx, cx, &News::UserErased(owner))
}
