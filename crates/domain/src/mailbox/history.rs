//! The history of the database: what was given out since it was made or last restored.
//!
//! A database that goes back in time must not take what clients learned meanwhile for its own: ids
//! that were given out would name something else, and states and tags would pass as valid. So all
//! ids and modseqs of a new history are above one number, its origin: the microseconds since 2025.
//! No database gives more than one id a microsecond, and no mailbox changes more often, so whatever
//! any history ever gave out is below the time at which it did, and below the origin of each that
//! begins later, whichever of them were restored from which. Ids and states may be as large as
//! 2^53; half of that is reached in 2167.

use db::{Tx, params};

use crate::accounts::{browser_tokens, server_keys, sessions};
use crate::base::{Cx, Result, Time};

/// An origin after this, in the year 2167, is that of a wrong clock.
const LATEST: i64 = 1 << 52;
/// How far an origin is above all that was given out where the clock does not say more: at least
/// what can happen in a second, and by chance up to 2^40, because there may be other histories.
const LEAP: i64 = 1 << 20;
const CHANCE: i64 = 1 << 40;

/// The highest id or modseq that a database shows.
fn highest(tx: &mut Tx<'_>) -> db::Result<i64> {
    let id = tx.last_id()?;
    let modseq = "SELECT coalesce(max(modseq), 0) FROM mailboxes";
    Ok(tx.query_one(modseq, &[], |row| row.int(0))?.max(id))
}

/// The highest id or modseq that can be read in a database which may be damaged or older.
pub fn seen(tx: &mut Tx<'_>) -> i64 {
    let id = tx.last_id().unwrap_or(0);
    highest(tx).unwrap_or(id)
}

/// Begins a new history, after a database was restored: no id is given again, every state and tag
/// is refused that an earlier history gave out and this one does not share, and all sessions,
/// tokens and server keys end, so that none comes back that had been ended. `seen` is what the
/// replaced database showed, if there was one. Returns the origin.
///
/// The time has to be right. If it is behind what the databases show, the origin is above that and
/// a random number; then it is only most likely that no other history shares it.
pub fn begin(tx: &mut Tx<'_>, cx: &Cx, seen: i64) -> db::Result<i64> {
    let seen = seen.max(highest(tx)?);
    let by_clock = cx.now.0 - Time::FIRST.0;
    let origin = if (seen + 1..LATEST).contains(&by_clock) {
        by_clock
    } else {
        let chance = i64::from_be_bytes(cx.random()) & (CHANCE - 1);
        seen.saturating_add(LEAP + chance)
    };
    tx.execute("UPDATE mailboxes SET modseq = ?1, purged_modseq = ?1", &params![origin])?;
    tx.skip_ids(origin)?;
    tx.execute(
        "INSERT INTO history (id, origin) VALUES (1, ?1)
         ON CONFLICT (id) DO UPDATE SET origin = ?1",
        &params![origin],
    )?;
    sessions::end_all_users(tx)?;
    // Browser tokens name the origin; JWTs that were revoked since the backup must not come back.
    tx.execute("UPDATE users SET tokens_revoked_at = ?1", &params![cx.now])?;
    server_keys::revoke_all(tx, cx)?;
    Ok(origin)
}

/// Whether a JWT was issued before the database was restored: it makes no account any more, as its
/// user may have been erased since the backup.
pub fn is_later(tx: &mut Tx<'_>, cx: &Cx, issued: Time) -> Result<bool> {
    let began = browser_tokens::began(cx, origin(tx)?);
    Ok(began.is_some_and(|began| issued <= began))
}

/// The number above which all ids of this history are.
pub(crate) fn origin(tx: &mut Tx<'_>) -> db::Result<i64> {
    let origin = tx.query_opt("SELECT origin FROM history WHERE id = 1", &[], |row| row.int(0))?;
    Ok(origin.unwrap_or(0))
}

/// The fingerprint of the secret key that the database is used with, if one was recorded.
pub fn key_fingerprint(tx: &mut Tx<'_>) -> db::Result<Option<Vec<u8>>> {
    let recorded = "SELECT key_fingerprint FROM history
                    WHERE id = 1 AND key_fingerprint IS NOT NULL";
    tx.query_opt(recorded, &[], |row| Ok(row.blob(0)?.to_owned()))
}

/// Records the fingerprint of the secret key that the database is used with from now on.
pub fn set_key_fingerprint(tx: &mut Tx<'_>, fingerprint: &[u8]) -> db::Result<()> {
    tx.execute(
        "INSERT INTO history (id, origin, key_fingerprint) VALUES (1, 0, ?1)
         ON CONFLICT (id) DO UPDATE SET key_fingerprint = ?1",
        &params![fingerprint],
    )?;
    Ok(())
}
