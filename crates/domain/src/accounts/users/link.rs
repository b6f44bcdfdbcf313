//! Giving an account of Postroom's own to the app: it gets an external id.

use db::{Tx, params};

use super::access::end_credentials;
use super::profile::touch;
use super::reserved;
use crate::accounts::modseq;
use crate::base::text::ExternalId;
use crate::base::{Cx, Error, Result, UserId};
use crate::outbox::notices;

/// Gives an account its external id, and where `end_logins` is set takes its password away and ends
/// its sessions and tokens, also where it has that id already. Returns whether anything changed.
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
        Some(linked) if linked == external_id.as_str() => {
            let ends = end_logins && has_logins(tx, user)?;
            if ends {
                end_all_logins(tx, user)?;
                touch(tx, cx, user)?;
            }
            return Ok(ends);
        }
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
        end_all_logins(tx, user)?;
    }
    notices::send(tx, notices::ACCESS, user);
    Ok(true)
}

/// Whether a user has a password, a session or a token.
fn has_logins(tx: &mut Tx<'_>, user: UserId) -> Result<bool> {
    let found = tx.query_opt(
        "SELECT 1 FROM users WHERE id = ?1
         AND (password_hash <> '' OR EXISTS (SELECT 1 FROM sessions WHERE user_id = ?1)
              OR EXISTS (SELECT 1 FROM tokens WHERE user_id = ?1))",
        &params![user],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

fn end_all_logins(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    tx.execute(
        "UPDATE users SET password_hash = '', password_wait = 0 WHERE id = ?1",
        &params![user],
    )?;
    end_credentials(tx, user, None)
}
