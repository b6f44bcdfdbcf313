//! Leases: of several nodes one does what one is enough for, and another when that one is gone.

use db::{Tx, params};

use crate::{Cx, Result};

/// Takes a lease, or holds on to it, for so many microseconds from now; whether `holder` has it.
pub fn take(tx: &mut Tx<'_>, cx: &Cx, name: &str, holder: &[u8; 16], length: i64) -> Result<bool> {
    let taken = tx.execute(
        "INSERT INTO leases (name, holder, until) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET holder = ?2, until = ?3
         WHERE leases.holder = ?2 OR leases.until <= ?4",
        &params![name, holder, cx.now.plus(length), cx.now],
    )?;
    Ok(taken == 1)
}

/// Gives a lease back before it is over.
pub fn release(tx: &mut Tx<'_>, name: &str, holder: &[u8; 16]) -> Result<()> {
    tx.execute("DELETE FROM leases WHERE name = ?1 AND holder = ?2", &params![name, holder])?;
    Ok(())
}
