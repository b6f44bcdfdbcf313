//! Familiar addresses: those from which a user has signed in lately. What fails there is counted
//! there, so that nobody else's guesses keep the user out.

use db::{Tx, params};

use super::failures::{ACCOUNT, Failures};
use super::network::Network;
use crate::base::{Cx, Result, Time, UserId};

/// How long an address is familiar after the last sign-in from it.
const KEPT: i64 = 90 * Time::DAY;
/// How many addresses of a user are familiar: those of the latest sign-ins.
const MOST: usize = 16;

/// What is stored of an address: a hash under the server's key, without which an address would be
/// found by trying all. A network that one customer has alone is one address.
pub(super) fn hash(cx: &Cx, smallest: &Network) -> [u8; 32] {
    cx.names.hash_network(smallest.bytes())
}

/// Counts an attempt at the account of that folded name, if it comes from a familiar address.
/// Returns whose it is.
///
/// # Errors
/// [`Error::Throttled`](crate::Error::Throttled) where it comes too early.
pub(super) fn count(
    tx: &mut Tx<'_>,
    cx: &Cx,
    folded: &str,
    network: &[u8; 32],
) -> Result<Option<UserId>> {
    let params = params![folded, network, cx.now.plus(-KEPT)];
    tx.lock(
        "SELECT 1 FROM familiar_addresses
         WHERE user_id = (SELECT id FROM users WHERE name_folded = ?1) AND network_hash = ?2
         AND signed_in_at > ?3 FOR UPDATE",
        &params,
    )?;
    let known = tx.query_opt(
        "SELECT user_id, failures, window_started_at, blocked_until FROM familiar_addresses
         WHERE user_id = (SELECT id FROM users WHERE name_folded = ?1) AND network_hash = ?2
         AND signed_in_at > ?3",
        &params,
        |row| {
            let (started, blocked_until) = (Time(row.int(2)?), Time(row.int(3)?));
            let failures = Failures { number: row.int(1)?, started, blocked_until };
            Ok((UserId::stored(row.int(0)?), failures))
        },
    )?;
    let Some((user, failures)) = known else { return Ok(None) };
    let Failures { number, started, blocked_until } = failures.one_more(&ACCOUNT, cx.now)?;
    tx.execute(
        "UPDATE familiar_addresses
         SET failures = ?3, window_started_at = ?4, blocked_until = ?5
         WHERE user_id = ?1 AND network_hash = ?2",
        &params![user, network, number, started, blocked_until],
    )?;
    Ok(Some(user))
}

/// Gives an attempt back.
pub(super) fn give_back(tx: &mut Tx<'_>, user: UserId, network: &[u8; 32]) -> Result<()> {
    tx.execute(
        "UPDATE familiar_addresses SET failures = failures - 1, blocked_until = 0
         WHERE user_id = ?1 AND network_hash = ?2 AND failures > 0",
        &params![user, network],
    )?;
    Ok(())
}

/// Makes an address familiar, in place of the one whose last sign-in is the longest ago where
/// there are [`MOST`].
pub(super) fn add(tx: &mut Tx<'_>, cx: &Cx, user: UserId, network: &[u8; 32]) -> Result<()> {
    let mut others = tx.query(
        "SELECT signed_in_at, network_hash FROM familiar_addresses WHERE user_id = ?1",
        &params![user],
        |row| Ok((row.int(0)?, row.blob(1)?.to_owned())),
    )?;
    others.retain(|(_, other)| other != network);
    others.sort_unstable();
    let excess = (others.len() + 1).saturating_sub(MOST);
    for (_, oldest) in others.iter().take(excess) {
        tx.execute(
            "DELETE FROM familiar_addresses WHERE user_id = ?1 AND network_hash = ?2",
            &params![user, oldest.as_slice()],
        )?;
    }
    tx.execute(
        "INSERT INTO familiar_addresses (user_id, network_hash, signed_in_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (user_id, network_hash) DO UPDATE SET signed_in_at = ?3",
        &params![user, network, cx.now],
    )?;
    Ok(())
}

/// Makes all addresses of a user strange again.
pub(super) fn forget(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    tx.execute("DELETE FROM familiar_addresses WHERE user_id = ?1", &params![user])?;
    Ok(())
}

/// Removes up to `limit` addresses that are not familiar any more, oldest first. Returns how many
/// there were.
pub fn purge(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let over = cx.now.plus(-KEPT);
    let due = tx.query(
        "SELECT user_id, network_hash FROM familiar_addresses WHERE signed_in_at <= ?1
         ORDER BY signed_in_at LIMIT ?2",
        &params![over, limit],
        |row| Ok((row.int(0)?, row.blob(1)?.to_owned())),
    )?;
    let rows: Vec<_> =
        due.iter().map(|(user, network)| params![*user, network.as_slice(), over]).collect();
    // The user may have signed in from one of them since.
    Ok(tx.batch(
        "DELETE FROM familiar_addresses
         WHERE user_id = ?1 AND network_hash = ?2 AND signed_in_at <= ?3",
        &rows,
    )?)
}
