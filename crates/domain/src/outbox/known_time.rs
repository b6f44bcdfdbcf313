//! The known time: how late it is for certain. The job that purges notes it, so that a clock which
//! says something else is not believed at once: nothing is destroyed because its time seems to be
//! over, until such a clock has gone on for a day or the operator has said that it is right.
//!
//! It is a row of the leases that nobody takes. A database without one knows when its newest
//! message was sent and its newest account was made.

use db::{Tx, params};

use crate::base::{Cx, LARGEST_ID, Result, Time};

const NAME: &str = "known time";
/// Its holder.
const NOBODY: [u8; 16] = [0; 16];

/// How far a clock may be from the known time: longer than a server is mostly stopped for.
pub const FAR: i64 = 3 * Time::DAY;
/// For how long a clock that is further off has to go on before it is believed.
pub const BELIEVED_AFTER: i64 = Time::DAY;
/// How precisely the known time is noted, as each note is a write.
const EVERY: i64 = Time::HOUR;

/// The known time; `None` in a new database.
pub fn get(tx: &mut Tx<'_>) -> Result<Option<Time>> {
    match noted(tx)? {
        None => newest(tx),
        noted => Ok(noted),
    }
}

fn noted(tx: &mut Tx<'_>) -> Result<Option<Time>> {
    let sql = "SELECT until FROM leases WHERE name = ?1";
    Ok(tx.query_opt(sql, &params![NAME], |row| Ok(Time(row.int(0)?)))?)
}

fn newest(tx: &mut Tx<'_>) -> Result<Option<Time>> {
    let mut newest = None;
    for sql in [
        "SELECT sent_at FROM messages WHERE id <= ?1 ORDER BY id DESC LIMIT 1",
        "SELECT created_at FROM users WHERE id <= ?1 ORDER BY id DESC LIMIT 1",
    ] {
        newest = newest.max(tx.query_opt(sql, &params![LARGEST_ID], |row| Ok(Time(row.int(0)?)))?);
    }
    Ok(newest)
}

/// By how much the clock is ahead of the known time, in microseconds, or behind it where that is
/// negative. `None` where it is near enough to be believed.
pub fn distance(tx: &mut Tx<'_>, cx: &Cx) -> Result<Option<i64>> {
    let ahead = get(tx)?.map_or(0, |known| cx.now.0.saturating_sub(known.0));
    Ok((ahead.unsigned_abs() > FAR.unsigned_abs()).then_some(ahead))
}

/// Whether the clock is believed, so that what is over by it may be destroyed.
pub fn is_near(tx: &mut Tx<'_>, cx: &Cx) -> Result<bool> {
    Ok(distance(tx, cx)?.is_none())
}

/// Notes the time, unless the clock is far from the known time and has been so for less than
/// [`BELIEVED_AFTER`]: for `lasted` microseconds that were not measured by it. Returns the
/// [`distance`] then.
pub fn follow(tx: &mut Tx<'_>, cx: &Cx, lasted: i64) -> Result<Option<i64>> {
    match distance(tx, cx)? {
        Some(ahead) if lasted < BELIEVED_AFTER => Ok(Some(ahead)),
        _ => {
            let is_noted = |known: Time| known.plus(-EVERY) < cx.now && cx.now < known.plus(EVERY);
            if !noted(tx)?.is_some_and(is_noted) {
                believe(tx, cx)?;
            }
            Ok(None)
        }
    }
}

/// Notes the time, however far it is from the known time: the operator says that it is right.
pub fn believe(tx: &mut Tx<'_>, cx: &Cx) -> Result<()> {
    tx.execute(
        "INSERT INTO leases (name, holder, until) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET until = ?3",
        &params![NAME, &NOBODY, cx.now],
    )?;
    Ok(())
}
