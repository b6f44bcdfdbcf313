//! Leases: one node does what one node is enough for, and another takes over when it is gone.

use crate::base::{Cx, Result, Time};
use db::{Tx, params};

/// Takes or renews a lease for `length` microseconds from now. Returns whether `holder` has it.
pub fn take(tx: &mut Tx<'_>, cx: &Cx, name: &str, holder: &[u8; 16], length: i64) -> Result<bool> {
    let taken = tx.execute(
        "INSERT INTO leases (name, holder, until) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET holder = ?2, until = ?3
         WHERE leases.holder = ?2 OR leases.until <= ?4",
        &params![name, holder, cx.now.plus(length), cx.now],
    )?;
    Ok(taken == 1)
}

/// Ends a lease that lasts longer than its length allows, which a wrong clock took. Returns whether
/// there was one.
pub fn end_impossible(tx: &mut Tx<'_>, cx: &Cx, name: &str, length: i64) -> Result<bool> {
    let ended = tx.execute(
        "DELETE FROM leases WHERE name = ?1 AND until > ?2",
        &params![name, cx.now.plus(length + Time::SLACK)],
    )?;
    Ok(ended == 1)
}

/// Gives a lease back before it ends.
pub fn release(tx: &mut Tx<'_>, name: &str, holder: &[u8; 16]) -> Result<()> {
    tx.execute("DELETE FROM leases WHERE name = ?1 AND holder = ?2", &params![name, holder])?;
    Ok(())
}
