//! The usernames of erased accounts, which are not given again for a while: the next to have one
//! would be taken for the person before. And their external ids, which are not given again unless
//! the app says so: an update that comes too late would bring back who has left.

use db::{Tx, params};

use crate::base::{Cx, Result};

/// Reserves the folded name of an account that is erased now.
pub(super) fn reserve(tx: &mut Tx<'_>, cx: &Cx, folded: &str) -> Result<()> {
    if cx.names.kept > 0 {
        tx.execute(
            "INSERT INTO reserved_names (name_hash, erased_at) VALUES (?1, ?2)
             ON CONFLICT (name_hash) DO UPDATE SET erased_at = ?2",
            &params![&cx.names.hash(folded), cx.now],
        )?;
    }
    Ok(())
}

/// Whether a folded name is reserved. The time limit is that of now, not that of the erasure.
pub(super) fn is_reserved(tx: &mut Tx<'_>, cx: &Cx, folded: &str) -> Result<bool> {
    if cx.names.kept == 0 {
        return Ok(false);
    }
    let found = tx.query_opt(
        "SELECT 1 FROM reserved_names WHERE name_hash = ?1 AND erased_at > ?2",
        &params![&cx.names.hash(folded), cx.now.plus(-cx.names.kept)],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Whether any of some folded names is reserved, in one statement. The rows stay as they are.
pub(super) fn any_is_reserved(tx: &mut Tx<'_>, cx: &Cx, folded: &[&str]) -> Result<bool> {
    if cx.names.kept == 0 {
        return Ok(false);
    }
    let since = cx.now.plus(-cx.names.kept);
    let hashes: Vec<_> = folded.iter().map(|name| cx.names.hash(name)).collect();
    let rows: Vec<_> = hashes.iter().map(|hash| params![hash, since]).collect();
    let sql =
        "UPDATE reserved_names SET erased_at = erased_at WHERE name_hash = ?1 AND erased_at > ?2";
    Ok(tx.batch(sql, &rows)? > 0)
}

/// Keeps of an erased user's external id that it creates nobody.
pub(super) fn bury(tx: &mut Tx<'_>, cx: &Cx, external_id: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO erased_external_ids (id_hash, erased_at) VALUES (?1, ?2)
         ON CONFLICT (id_hash) DO UPDATE SET erased_at = ?2",
        &params![&cx.names.hash_external(external_id), cx.now],
    )?;
    Ok(())
}

/// Whether an external id is that of an erased user.
pub(super) fn is_buried(tx: &mut Tx<'_>, cx: &Cx, external_id: &str) -> Result<bool> {
    let found = tx.query_opt(
        "SELECT 1 FROM erased_external_ids WHERE id_hash = ?1",
        &params![&cx.names.hash_external(external_id)],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Removes up to `limit` names whose time is over, oldest first. Returns how many there were.
pub fn purge_reserved_names(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let over = cx.now.plus(-cx.names.kept);
    let due = tx.query(
        "SELECT name_hash FROM reserved_names WHERE erased_at <= ?1 ORDER BY erased_at LIMIT ?2",
        &params![over, limit],
        |row| Ok(row.blob(0)?.to_owned()),
    )?;
    let rows: Vec<_> = due.iter().map(|hash| params![hash.as_slice(), over]).collect();
    // One of them may have been reserved again since.
    Ok(tx.batch("DELETE FROM reserved_names WHERE name_hash = ?1 AND erased_at <= ?2", &rows)?)
}
