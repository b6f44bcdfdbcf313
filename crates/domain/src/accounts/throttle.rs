//! Throttles: failed sign-ins and registrations, counted in the database, so a restart forgets
//! nothing.
//!
//! An attempt is counted before the password is checked, and forgiven when it was right, so that
//! many attempts at once cannot all pass the check.

use crate::base::{Cx, Error, Exceeded, Result, Time};
use std::net::IpAddr;

use db::{Tx, params};
use sha2::{Digest as _, Sha256};

/// How many failures are free in a window, and how long further ones are delayed.
struct Policy {
    name: &'static str,
    free: i64,
    window: i64,
    first_delay: i64,
    longest_delay: i64,
}

/// 10 attempts, then one after 30 s, 1 min, 2 min … at most 15 min: about 100 guesses a day, from
/// however many addresses, and never a permanent lock.
const ACCOUNT: Policy = Policy {
    name: "login-account",
    free: 10,
    window: Time::DAY,
    first_delay: 30 * Time::SECOND,
    longest_delay: 15 * Time::MINUTE,
};

/// 30 failures a minute.
const ADDRESS: Policy = Policy {
    name: "login-address",
    free: 30,
    window: Time::MINUTE,
    first_delay: Time::MINUTE,
    longest_delay: Time::MINUTE,
};

/// An attempt to sign in: the account and, where it is counted, the address.
///
/// Both are hashes, because people sometimes type the password into the field for the name.
#[derive(Debug, Clone, Copy)]
pub struct SignInAttempt {
    account: [u8; 32],
    address: Option<[u8; 32]>,
}

impl SignInAttempt {
    /// An attempt at the account of that folded name, from that address. An IPv6 address counts
    /// as its /64, which one customer has alone.
    pub fn new(folded: &str, address: Option<IpAddr>) -> Self {
        let address = address.map(|address| match address.to_canonical() {
            IpAddr::V4(v4) => subject(b"address", &v4.octets()),
            IpAddr::V6(v6) => subject(b"network", &v6.octets()[..8]),
        });
        Self { account: subject(b"account", folded.as_bytes()), address }
    }
}

fn subject(kind: &[u8], name: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(kind).chain_update(b":").chain_update(name).finalize().into()
}

/// Counts an attempt.
///
/// # Errors
/// [`Error::Throttled`] where it comes too early; it is then not counted.
pub fn count(tx: &mut Tx<'_>, cx: &Cx, attempt: &SignInAttempt) -> Result<()> {
    count_one(tx, cx, &attempt.account, &ACCOUNT)?;
    if let Some(address) = &attempt.address {
        count_one(tx, cx, address, &ADDRESS)?;
    }
    purge(tx, cx)
}

/// Each attempt removes two expired rows, so that the table cannot grow for ever.
fn purge(tx: &mut Tx<'_>, cx: &Cx) -> Result<()> {
    tx.execute(
        "DELETE FROM throttles WHERE subject IN
         (SELECT subject FROM throttles WHERE expires_at < ?1 ORDER BY expires_at LIMIT 2)",
        &params![cx.now],
    )?;
    Ok(())
}

/// Counts a registration from an address; an IPv6 address counts as its /64. A window begins with
/// the first registration after the last window ended.
///
/// # Errors
/// [`Error::TooManyRegistrations`] where there were `per_hour` in the window; it is then not
/// counted.
pub fn count_registration(tx: &mut Tx<'_>, cx: &Cx, address: IpAddr, per_hour: i64) -> Result<()> {
    let subject = match address.to_canonical() {
        IpAddr::V4(v4) => subject(b"register", &v4.octets()),
        IpAddr::V6(v6) => subject(b"register", &v6.octets()[..8]),
    };
    let now = cx.now;
    let runs =
        |known: &Counted| known.started.has_come(now) && now < known.started.plus(Time::HOUR);
    let running = counted(tx, &subject)?.filter(runs);
    let (before, started) = running.map_or((0, now), |known| (known.failures, known.started));
    let expires_at = started.plus(Time::HOUR);
    if before >= per_hour {
        let retry_after = now.seconds_until(expires_at);
        let window_seconds = Time::HOUR / Time::SECOND;
        let exceeded = Exceeded { name: "register", limit: per_hour, window_seconds, retry_after };
        return Err(Error::TooManyRegistrations(exceeded));
    }
    let counted = Counted { failures: before + 1, started, blocked_until: Time(0) };
    note(tx, &subject, &counted, expires_at)?;
    purge(tx, cx)
}

/// Forgives an attempt that was right, and all failures at the account.
pub fn forgive(tx: &mut Tx<'_>, attempt: &SignInAttempt) -> Result<()> {
    tx.execute("DELETE FROM throttles WHERE subject = ?1", &params![&attempt.account])?;
    if let Some(address) = &attempt.address {
        tx.execute(
            "UPDATE throttles SET failures = failures - 1, blocked_until = 0
             WHERE subject = ?1 AND failures > 0",
            &params![address],
        )?;
    }
    Ok(())
}

/// Forgets the failures at an account that is gone: a name could be guessed by its hash.
pub(crate) fn forget_account(tx: &mut Tx<'_>, folded: &str) -> Result<()> {
    let account = subject(b"account", folded.as_bytes());
    tx.execute("DELETE FROM throttles WHERE subject = ?1", &params![&account])?;
    Ok(())
}

struct Counted {
    failures: i64,
    started: Time,
    blocked_until: Time,
}

fn counted(tx: &mut Tx<'_>, subject: &[u8; 32]) -> Result<Option<Counted>> {
    // A missing row is created, so that there is something to lock; only those who wait see it.
    tx.lock(
        "INSERT INTO throttles (subject, failures, window_started_at, expires_at, blocked_until)
         VALUES (?1, 0, 0, 0, 0)
         ON CONFLICT (subject) DO UPDATE SET failures = throttles.failures",
        &params![subject],
    )?;
    Ok(tx.query_opt(
        "SELECT failures, window_started_at, blocked_until FROM throttles WHERE subject = ?1",
        &params![subject],
        |row| {
            let (started, blocked_until) = (Time(row.int(1)?), Time(row.int(2)?));
            Ok(Counted { failures: row.int(0)?, started, blocked_until })
        },
    )?)
}

fn count_one(tx: &mut Tx<'_>, cx: &Cx, subject: &[u8; 32], policy: &Policy) -> Result<()> {
    let now = cx.now;
    let known = counted(tx, subject)?;
    // A delay that ends later than the longest one was written by a wrong clock.
    let holds = |until: &Time| *until > now && until.plus(-policy.longest_delay).has_come(now);
    if let Some(until) = known.as_ref().map(|known| known.blocked_until).filter(holds) {
        return Err(Error::Throttled(Exceeded {
            name: policy.name,
            limit: policy.free,
            window_seconds: policy.window / Time::SECOND,
            retry_after: now.seconds_until(until),
        }));
    }
    let runs =
        |known: &Counted| known.started.has_come(now) && now < known.started.plus(policy.window);
    let running = known.filter(runs);
    let (before, started) = running.map_or((0, now), |known| (known.failures, known.started));
    let failures = before + 1;
    let blocked_until = if failures < policy.free {
        Time(0)
    } else {
        let doublings = u32::try_from((failures - policy.free).min(20)).unwrap_or(20);
        now.plus((policy.first_delay << doublings).min(policy.longest_delay))
    };
    // A delay that starts late outlasts its window: the row is needed until both have ended.
    let expires_at = started.plus(policy.window).max(blocked_until);
    note(tx, subject, &Counted { failures, started, blocked_until }, expires_at)
}

fn note(tx: &mut Tx<'_>, subject: &[u8; 32], counted: &Counted, expires_at: Time) -> Result<()> {
    let Counted { failures, started, blocked_until } = *counted;
    tx.execute(
        "INSERT INTO throttles (subject, failures, window_started_at, expires_at, blocked_until)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (subject) DO UPDATE SET failures = ?2, window_started_at = ?3,
             expires_at = ?4, blocked_until = ?5",
        &params![subject, failures, started, expires_at, blocked_until],
    )?;
    Ok(())
}
