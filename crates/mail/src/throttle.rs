//! Failed logins and registrations, counted in the database: a restart forgets nothing.
//!
//! An attempt is counted before the password is checked and given back when it was right, so that
//! many attempts at once do not slip through together.

use std::net::IpAddr;

use db::{Tx, params};
use sha2::{Digest as _, Sha256};

use crate::{Cx, Error, Over, Result, Time};

/// How many failures are free in a window, and how long the next ones are held up.
struct Policy {
    name: &'static str,
    free: i64,
    window: i64,
    first_delay: i64,
    longest_delay: i64,
}

/// 10 tries, then one after 30 s, 1 min, 2 min … at most 15 min: about 100 guesses a day, from
/// however many addresses, and never a lock for good.
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

/// Who tries to log in: to which account, and from where, unless that is not counted.
///
/// Both are hashes: what people type into the field of the name is sometimes the password.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    account: [u8; 32],
    address: Option<[u8; 32]>,
}

impl Attempt {
    /// An attempt at the account of that folded name, from that address. An IPv6 address counts
    /// as its /64, which one customer has to himself.
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
/// [`Error::Throttled`] where it comes too early; it is not counted then.
pub fn count(tx: &mut Tx<'_>, cx: &Cx, attempt: &Attempt) -> Result<()> {
    count_one(tx, cx, &attempt.account, &ACCOUNT)?;
    if let Some(address) = &attempt.address {
        count_one(tx, cx, address, &ADDRESS)?;
    }
    sweep(tx, cx)
}

/// Each attempt removes two that are over, so that the table cannot grow for ever.
fn sweep(tx: &mut Tx<'_>, cx: &Cx) -> Result<()> {
    tx.execute(
        "DELETE FROM throttles WHERE subject IN
         (SELECT subject FROM throttles WHERE over_at < ?1 ORDER BY over_at LIMIT 2)",
        &params![cx.now],
    )?;
    Ok(())
}

/// Counts an account that is registered from an address; an IPv6 address counts as its /64. The
/// window begins with the first after the last one was over.
///
/// # Errors
/// [`Error::TooManyRegistrations`] where there were `per_hour` within the window; it is not counted
/// then.
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
    let over_at = started.plus(Time::HOUR);
    if before >= per_hour {
        let retry_after = now.seconds_until(over_at);
        let window_seconds = Time::HOUR / Time::SECOND;
        let over = Over { name: "register", limit: per_hour, window_seconds, retry_after };
        return Err(Error::TooManyRegistrations(over));
    }
    let counted = Counted { failures: before + 1, started, blocked_until: Time(0) };
    note(tx, &subject, &counted, over_at)?;
    sweep(tx, cx)
}

/// Gives an attempt back that was right, and forgets the failures at the account.
pub fn forgive(tx: &mut Tx<'_>, attempt: &Attempt) -> Result<()> {
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

/// What is known of a subject.
struct Counted {
    failures: i64,
    started: Time,
    blocked_until: Time,
}

fn counted(tx: &mut Tx<'_>, subject: &[u8; 32]) -> Result<Option<Counted>> {
    // The row may not be there: it is made, for nobody to see but who waits for it.
    tx.lock(
        "INSERT INTO throttles (subject, failures, window_started_at, over_at, blocked_until)
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
    // A block that ends later than any can was set by a clock that was wrong.
    let holds = |until: &Time| *until > now && until.plus(-policy.longest_delay).has_come(now);
    if let Some(until) = known.as_ref().map(|known| known.blocked_until).filter(holds) {
        return Err(Error::Throttled(Over {
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
    // A block outlasts its window where it came late: the row is needed until both are over.
    let over_at = started.plus(policy.window).max(blocked_until);
    note(tx, subject, &Counted { failures, started, blocked_until }, over_at)
}

fn note(tx: &mut Tx<'_>, subject: &[u8; 32], counted: &Counted, over_at: Time) -> Result<()> {
    let Counted { failures, started, blocked_until } = *counted;
    tx.execute(
        "INSERT INTO throttles (subject, failures, window_started_at, over_at, blocked_until)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (subject) DO UPDATE SET failures = ?2, window_started_at = ?3,
             over_at = ?4, blocked_until = ?5",
        &params![subject, failures, started, over_at, blocked_until],
    )?;
    Ok(())
}
