//! Throttles: failed sign-ins and registrations, counted in the database, so a restart forgets
//! nothing.
//!
//! An attempt is counted before the password is checked, and given back when it was right, so that
//! many attempts at once cannot all pass the check. Strangers share the count of an account. A
//! familiar address and a session have counts of their own, so that strangers keep nobody out.

mod failures;
mod familiar;
mod network;

use std::net::IpAddr;

use db::{Tx, params};
use sha2::{Digest as _, Sha256};

use self::failures::{ACCOUNT, ADDRESS, Failures, Policy};
pub use self::familiar::purge as purge_familiar_addresses;
pub use self::network::Network;
use crate::base::{Credential, CredentialKind, Cx, Error, Exceeded, Result, Time, UserId};

/// Whom a row counts. It is a hash, because people sometimes type the password into the field for
/// the name.
type Subject = [u8; 32];

/// The subjects of an attempt at most: the account and three networks.
const SUBJECTS: usize = 4;

/// How many times as many registrations as may succeed may be tried.
const TRIES: i64 = 5;

/// An attempt at a password that was counted.
#[derive(Debug, Clone)]
pub struct Counted {
    at: At,
    /// Its address, as it is stored once it is familiar.
    network: Option<[u8; 32]>,
}

/// Where an attempt was counted.
#[derive(Debug, Clone)]
enum At {
    Subjects(Vec<Subject>),
    FamiliarAddress(UserId),
}

fn subject(kind: &[u8], name: &[u8]) -> Subject {
    Sha256::new().chain_update(kind).chain_update(b":").chain_update(name).finalize().into()
}

/// What is stored of an address once it is familiar.
fn stored(cx: &Cx, address: Option<IpAddr>) -> Option<[u8; 32]> {
    let smallest = address.and_then(|address| Network::all_of(address).next());
    smallest.map(|network| familiar::hash(cx, &network))
}

/// Counts an attempt to sign in to the account of that folded name, whether there is one or not:
/// from a familiar address there alone, from any other for all strangers together and for each of
/// its networks.
///
/// # Errors
/// [`Error::Throttled`] where it comes too early; it is then not counted.
pub fn count(tx: &mut Tx<'_>, cx: &Cx, folded: &str, address: Option<IpAddr>) -> Result<Counted> {
    let network = stored(cx, address);
    if let Some(network) = &network
        && let Some(user) = familiar::count(tx, cx, folded, network)?
    {
        return Ok(Counted { at: At::FamiliarAddress(user), network: Some(*network) });
    }
    let mut counts = vec![(subject(b"account", folded.as_bytes()), ACCOUNT)];
    counts.extend(address.into_iter().flat_map(Network::all_of).map(|network| {
        let kind: &[u8] = if network.is_v4() { b"address" } else { b"network" };
        (subject(kind, network.bytes()), ADDRESS.times(network.share()))
    }));
    count_at(tx, cx, &counts, network)
}

/// Counts an attempt of somebody who is signed in to give their password: for a session alone. All
/// tokens of a user have one count, because a token may make others.
///
/// # Errors
/// [`Error::Throttled`] where it comes too early; it is then not counted.
pub fn count_of_holder(
    tx: &mut Tx<'_>,
    cx: &Cx,
    holder: &Credential,
    address: Option<IpAddr>,
) -> Result<Counted> {
    let subject = match holder.kind {
        CredentialKind::Session => subject(b"session", holder.hash()),
        _ => of_tokens(holder.user),
    };
    count_at(tx, cx, &[(subject, ACCOUNT)], stored(cx, address))
}

fn of_tokens(user: UserId) -> Subject {
    subject(b"tokens", &user.get().to_be_bytes())
}

fn count_at(
    tx: &mut Tx<'_>,
    cx: &Cx,
    counts: &[(Subject, Policy)],
    network: Option<[u8; 32]>,
) -> Result<Counted> {
    let subjects: Vec<_> = counts.iter().map(|(subject, _)| *subject).collect();
    lock(tx, &subjects)?;
    let mut rows = Vec::new();
    for ((subject, policy), failures) in counts.iter().zip(read(tx, &subjects)?) {
        let failures = failures.one_more(policy, cx.now)?;
        rows.push((*subject, failures, failures.expires_at(policy)));
    }
    note(tx, &rows)?;
    purge(tx, cx)?;
    Ok(Counted { at: At::Subjects(subjects), network })
}

/// Gives an attempt back, once: the password was right, or it was not looked at. Attempts of others
/// stay counted.
pub fn give_back(tx: &mut Tx<'_>, counted: &Counted) -> Result<()> {
    match (&counted.at, &counted.network) {
        (At::FamiliarAddress(user), Some(network)) => familiar::give_back(tx, *user, network),
        (At::FamiliarAddress(_), None) => Ok(()),
        (At::Subjects(subjects), _) => {
            let mut sorted = subjects.clone();
            sorted.sort_unstable();
            let rows: Vec<_> = sorted.iter().map(|subject| params![subject]).collect();
            tx.batch(
                "UPDATE throttles SET failures = failures - 1, blocked_until = 0
                 WHERE subject = ?1 AND failures > 0",
                &rows,
            )?;
            Ok(())
        }
    }
}

/// Gives an attempt back whose password was right, and makes its address familiar to the user.
pub fn let_in(tx: &mut Tx<'_>, cx: &Cx, user: UserId, counted: &Counted) -> Result<()> {
    give_back(tx, counted)?;
    counted.network.map_or(Ok(()), |network| familiar::add(tx, cx, user, &network))
}

/// Makes all addresses of a user strange again, as their password is another one now: somebody may
/// have known the old one.
pub(crate) fn forget_addresses(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    familiar::forget(tx, user)
}

/// Counts a registration from an address; of IPv6 its networks are counted. A window begins with
/// the first registration after the last window ended.
///
/// # Errors
/// [`Error::TooManyRegistrations`] where there were `per_hour` in the window; it is then not
/// counted.
pub fn count_registration(tx: &mut Tx<'_>, cx: &Cx, address: IpAddr, per_hour: i64) -> Result<()> {
    count_in_hour(tx, cx, b"register", address, per_hour)
}

/// Counts that somebody tries to register from an address, whatever comes of it. `TRIES` times
/// as many may be tried as may succeed.
///
/// # Errors
/// [`Error::TooManyRegistrations`] where there were so many tries, or where one more registration
/// would be too many; it is then not counted.
pub fn try_registration(tx: &mut Tx<'_>, cx: &Cx, address: IpAddr, per_hour: i64) -> Result<()> {
    count_in_hour(tx, cx, b"try to register", address, TRIES * per_hour)?;
    let subjects: Vec<_> = in_networks(b"register", address).map(|(subject, _)| subject).collect();
    let registered = read(tx, &subjects)?;
    for ((_, share), known) in in_networks(b"register", address).zip(registered) {
        one_more_in_hour(cx, known, per_hour * share)?;
    }
    Ok(())
}

fn in_networks(kind: &[u8], address: IpAddr) -> impl Iterator<Item = (Subject, i64)> {
    Network::all_of(address).map(move |network| (subject(kind, network.bytes()), network.share()))
}

fn count_in_hour(
    tx: &mut Tx<'_>,
    cx: &Cx,
    kind: &[u8],
    address: IpAddr,
    per_hour: i64,
) -> Result<()> {
    let (subjects, shares): (Vec<_>, Vec<_>) = in_networks(kind, address).unzip();
    lock(tx, &subjects)?;
    let mut rows = Vec::new();
    let known = read(tx, &subjects)?;
    for ((subject, share), known) in subjects.iter().zip(shares).zip(known) {
        let failures = one_more_in_hour(cx, known, per_hour * share)?;
        rows.push((*subject, failures, failures.started.plus(Time::HOUR)));
    }
    note(tx, &rows)?;
    purge(tx, cx)
}

fn one_more_in_hour(cx: &Cx, known: Failures, limit: i64) -> Result<Failures> {
    let (before, started) = known.in_window(Time::HOUR, cx.now);
    if before >= limit {
        return Err(Error::TooManyRegistrations(Exceeded {
            name: "register",
            limit,
            window_seconds: Time::HOUR / Time::SECOND,
            retry_after: cx.now.seconds_until(started.plus(Time::HOUR)),
        }));
    }
    Ok(Failures { number: before + 1, started, blocked_until: Time(0) })
}

/// Forgets the failures at an account that is gone, as a name could be guessed by its hash, and
/// from where its owner has signed in.
pub(crate) fn forget_account(tx: &mut Tx<'_>, owner: UserId, folded: &str) -> Result<()> {
    tx.batch(
        "DELETE FROM throttles WHERE subject = ?1",
        &[params![&subject(b"account", folded.as_bytes())], params![&of_tokens(owner)]],
    )?;
    familiar::forget(tx, owner)
}

/// Each attempt removes as many expired rows as it may add, so that the table cannot grow for ever.
fn purge(tx: &mut Tx<'_>, cx: &Cx) -> Result<()> {
    tx.execute(
        "DELETE FROM throttles WHERE subject IN
         (SELECT subject FROM throttles WHERE expires_at < ?1 ORDER BY expires_at LIMIT 4)",
        &params![cx.now],
    )?;
    Ok(())
}

/// Locks the rows of some subjects, in an order that is the same for everybody. Missing rows are
/// created, so that there is something to lock; only those who wait see them.
fn lock(tx: &mut Tx<'_>, subjects: &[Subject]) -> Result<()> {
    let mut sorted = subjects.to_vec();
    sorted.sort_unstable();
    for subject in &sorted {
        tx.lock(
            "INSERT INTO throttles (subject, failures, window_started_at, expires_at, blocked_until)
             VALUES (?1, 0, 0, 0, 0)
             ON CONFLICT (subject) DO UPDATE SET failures = throttles.failures",
            &params![subject],
        )?;
    }
    Ok(())
}

/// The failures of some subjects, in their order; at least one, and [`SUBJECTS`] at most.
fn read(tx: &mut Tx<'_>, subjects: &[Subject]) -> Result<Vec<Failures>> {
    let [first, second, third, fourth]: [&Subject; SUBJECTS] =
        std::array::from_fn(|at| subjects.get(at).unwrap_or(&subjects[0]));
    let found = tx.query(
        "SELECT subject, failures, window_started_at, blocked_until FROM throttles
         WHERE subject IN (?1, ?2, ?3, ?4)",
        &params![first, second, third, fourth],
        |row| {
            let (started, blocked_until) = (Time(row.int(2)?), Time(row.int(3)?));
            let failures = Failures { number: row.int(1)?, started, blocked_until };
            Ok((row.blob(0)?.to_owned(), failures))
        },
    )?;
    let of = |subject: &Subject| found.iter().find(|(found, _)| found == subject);
    Ok(subjects.iter().map(|subject| of(subject).map_or(Failures::NONE, |of| of.1)).collect())
}

fn note(tx: &mut Tx<'_>, rows: &[(Subject, Failures, Time)]) -> Result<()> {
    let rows: Vec<_> = rows
        .iter()
        .map(|(subject, failures, expires_at)| {
            let Failures { number, started, blocked_until } = *failures;
            params![subject, number, started, *expires_at, blocked_until]
        })
        .collect();
    tx.batch(
        "INSERT INTO throttles (subject, failures, window_started_at, expires_at, blocked_until)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (subject) DO UPDATE SET failures = ?2, window_started_at = ?3,
             expires_at = ?4, blocked_until = ?5",
        &rows,
    )?;
    Ok(())
}
