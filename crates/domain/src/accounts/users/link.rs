//! Giving an account of Postroom's own to the app: it gets an external id.

use db::{Tx, params};

use super::access::end_credentials;
use super::reserved;
use crate::accounts::modseq;
use crate::base::text::ExternalId;
use crate::base::{Cx, Error, Result, UserId};
use crate::outbox::notices;

/// Gives an account its external id, and where `end_logins` is set takes its password away and ends
/// its sessions and tokens. Returns whether that changed anything: with the id that it has,
/// nothing is.
///
/// # Errors
/// [`Error::AlreadyLinked`] where it has another external id; [`Error::ExternalIdTaken`],
/// [`Error::UserErased`] where the id is that of another user, or of an erased one;
/// [`Error::UnknownUser`].
pub fn link(
    tx: &mut Tx<'_>,
    cx: &Cx,
    user: UserId,
    external_id: &ExternalId,
    end_logins: bool,
) -> Result<bool> {
    modseq::lock(tx, user)?;
    super::lock(tx, user)?;
    let linked = tx.query_opt(
        "SELECT external_id FROM users WHERE id = ?1 AND erased_at IS NULL",
        &params![user],
        |row| Ok(row.opt_text(0)?.map(str::to_owned)),
    )?;
    match linked.ok_or(Error::UnknownUser)? {
        Some(linked) if linked == external_id.as_str() => return Ok(false),
        Some(_other) => return Err(Error::AlreadyLinked),
        None => {}
    }
    let changed = tx.execute(
        "UPDATE users SET external_id = ?2, updated_at = ?3 WHERE id = ?1",
        &params![user, external_id.as_str(), cx.now],
    );
    match changed {
        // An index, whose name is made of the column's in a file.
        Err(db::Error::Unique(name)) if name.starts_with("users_external_id") => {
            return Err(Error::ExternalIdTaken);
        }
        changed => changed?,
    };
    // After the update, which waits for the one who has the id: they may just be erasing it.
    if reserved::is_buried(tx, cx, external_id.as_str())? {
        return Err(Error::UserErased);
    }
    if end_logins {
        tx.execute("UPDATE users SET password_hash = '' WHERE id = ?1", &params![user])?;
        end_credentials(tx, user, None)?;
    }
    notices::send(tx, notices::ACCESS, user);
    Ok(true)
}
