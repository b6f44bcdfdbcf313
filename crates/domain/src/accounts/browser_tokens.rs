//! Browser tokens and JWTs: logins of pages that their app vouches for.
//!
//! Nothing is stored of one. What it says is signed, and is checked here against what has happened
//! to its user since.

use std::collections::{HashMap, HashSet};

use db::{Row, Tx, params};
use sha2::{Digest as _, Sha256};

use crate::accounts::tokens::Scopes;
use crate::accounts::users;
use crate::base::{Credential, Cx, Error, Result, Time, UserId};
use crate::outbox::{known_time, notices, reminders};

/// How precisely the last use is recorded, as each record is a write.
pub const USED_EVERY: i64 = Time::MINUTE;
/// No token lives longer, so a session of the app is known as ended for as long.
pub const LONGEST: i64 = Time::DAY;

/// A session of the app, by a hash of the name that the app gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AppSession(pub [u8; 16]);

impl AppSession {
    /// Whether a text can be the name of a session: it has 1 to 255 characters.
    pub fn fits(name: &str) -> bool {
        !name.is_empty() && name.chars().nth(255).is_none()
    }

    /// The session of that name.
    pub fn named(name: &str) -> Self {
        let hash = Sha256::new().chain_update("app session:").chain_update(name).finalize();
        Self(std::array::from_fn(|at| hash[at]))
    }
}

/// When a token was issued, as far as its end depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// A browser token, for that generation of the user's tokens and in that history.
    In(Generation),
    /// A JWT: its `iat` less the leeway.
    At(Time),
}

/// What a browser token must have been issued in to be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// Of the user's tokens.
    pub number: i64,
    /// The origin of the database's history.
    pub origin: i64,
}

/// What a browser token or a JWT says, once its signature was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The user, and what tells the token from others.
    pub credential: Credential,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was issued.
    pub issued: Issued,
    /// The session of the app that it belongs to.
    pub session: Option<AppSession>,
    /// When it is no longer accepted.
    pub expires_at: Time,
}

/// Whether a token still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Valid,
    /// Its time is over.
    Expired,
    /// It was revoked, or issued before the database was restored.
    Revoked,
    /// It was revoked by a clock that was far ahead, so that all JWTs of the user would be refused
    /// until then: [`correct_revocation`] lets those in that are issued from now on.
    RevokedAhead,
    /// Its user is deactivated.
    Deactivated,
    /// Its user is erased.
    Erased,
}

/// What has happened to a user, as far as tokens depend on it.
struct Account {
    generation: Generation,
    revoked_at: Option<Time>,
    is_disabled: bool,
    is_erased: bool,
    is_system: bool,
}

macro_rules! select_account {
    ($columns:literal, $where:literal) => {
        concat!(
            "SELECT token_generation, coalesce((SELECT origin FROM history WHERE id = 1), 0),
             tokens_revoked_at, disabled_at, erased_at, kind",
            $columns,
            " FROM users ",
            $where
        )
    };
}

fn account(row: &Row<'_>) -> db::Result<Account> {
    Ok(Account {
        generation: Generation { number: row.int(0)?, origin: row.int(1)? },
        revoked_at: row.opt_int(2)?.map(Time),
        is_disabled: row.opt_int(3)?.is_some(),
        is_erased: row.opt_int(4)?.is_some(),
        is_system: row.int(5)? != 0,
    })
}

/// When the history of an origin began: JWTs that were issued before may have ended since the
/// backup. `None` where the clock did not make the origin, or is behind.
pub(crate) fn began(cx: &Cx, origin: i64) -> Option<Time> {
    Some(Time::FIRST.plus(origin)).filter(|at| *at <= cx.now)
}

impl Grant {
    fn standing(&self, cx: &Cx, account: Option<&Account>, session_ended: bool) -> Standing {
        let Some(account) = account.filter(|account| !account.is_erased) else {
            return Standing::Erased;
        };
        let revoked = match self.issued {
            Issued::In(generation) => generation != account.generation,
            Issued::At(time) => {
                account.revoked_at.is_some_and(|revoked| time <= revoked)
                    || began(cx, account.generation.origin).is_some_and(|at| time <= at)
            }
        };
        // Nobody signs in as a system user, whatever a token says.
        let revoked = revoked || account.is_system;
        // A browser token that lives longer than any can was made by a wrong clock.
        let is_made_later = matches!(self.issued, Issued::In(_))
            && self.expires_at > cx.now.plus(LONGEST + Time::SLACK);
        if self.expires_at <= cx.now || is_made_later {
            Standing::Expired
        } else if account.is_disabled {
            Standing::Deactivated
        } else if revoked || session_ended {
            let latest = cx.now.plus(known_time::FAR);
            let is_ahead = account.revoked_at.is_some_and(|revoked| revoked > latest);
            if is_ahead { Standing::RevokedAhead } else { Standing::Revoked }
        } else {
            Standing::Valid
        }
    }
}

/// Whether a token still holds.
pub fn standing(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant) -> Result<Standing> {
    // No hash is empty, so without a session none is found.
    let session = grant.session.as_ref().map_or(&[][..], |session| &session.0);
    let found = tx.query_opt(
        select_account!(
            ", (SELECT revoked_at FROM revoked_sessions WHERE user_id = ?1 AND session_hash = ?2)",
            "WHERE id = ?1"
        ),
        &params![grant.credential.user, session],
        |row| Ok((account(row)?, row.opt_int(6)?.is_some())),
    )?;
    let ended = found.as_ref().is_some_and(|(_, ended)| *ended);
    Ok(grant.standing(cx, found.as_ref().map(|(account, _)| account), ended))
}

/// Whether each of many tokens still holds.
pub fn standings(tx: &mut Tx<'_>, cx: &Cx, grants: &[Grant]) -> Result<Vec<Standing>> {
    if grants.is_empty() {
        return Ok(vec![]);
    }
    let mut owners: Vec<_> = grants.iter().map(|grant| grant.credential.user.get()).collect();
    owners.sort_unstable();
    owners.dedup();
    let owners = owners.as_slice();
    let accounts =
        tx.query(select_account!(", id", "WHERE id IN rarray(?1)"), &params![owners], |row| {
            Ok((row.int(6)?, account(row)?))
        })?;
    let ended = tx.query(
        "SELECT user_id, session_hash FROM revoked_sessions
         WHERE user_id IN rarray(?1)",
        &params![owners],
        |row| Ok((row.int(0)?, row.blob(1)?.to_vec())),
    )?;
    let accounts: HashMap<_, _> = accounts.into_iter().collect();
    let ended: HashSet<_> = ended.into_iter().collect();
    let standing = |grant: &Grant| {
        let user = grant.credential.user.get();
        let has_ended = grant.session.is_some_and(|of| ended.contains(&(user, of.0.to_vec())));
        grant.standing(cx, accounts.get(&user), has_ended)
    };
    Ok(grants.iter().map(standing).collect())
}

/// The generation in which browser tokens of a user are issued now.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user, [`Error::UserDeactivated`];
/// [`Error::SystemUser`], as whom nobody signs in.
pub fn generation(tx: &mut Tx<'_>, user: UserId) -> Result<Generation> {
    let found = tx.query_opt(select_account!("", "WHERE id = ?1"), &params![user], account)?;
    match found.filter(|account| !account.is_erased) {
        None => Err(Error::UnknownUser),
        Some(account) if account.is_system => Err(Error::SystemUser),
        Some(account) if account.is_disabled => Err(Error::UserDeactivated),
        Some(account) => Ok(account.generation),
    }
}

/// The same, which stays so until the commit.
///
/// # Errors
/// As [`generation`].
pub fn locked_generation(tx: &mut Tx<'_>, user: UserId) -> Result<Generation> {
    users::lock(tx, user)?;
    generation(tx, user)
}

/// Ends the browser tokens and JWTs of a user that were issued until now, or those of one session
/// of the app.
///
/// # Errors
/// [`Error::UnknownUser`] where there is no such user.
pub fn revoke(tx: &mut Tx<'_>, cx: &Cx, user: UserId, session: Option<&AppSession>) -> Result<()> {
    let changed = match session {
        None => tx.execute(
            "UPDATE users SET token_generation = token_generation + 1, tokens_revoked_at = ?2
             WHERE id = ?1 AND erased_at IS NULL",
            &params![user, cx.now],
        )?,
        Some(session) => tx.execute(
            "INSERT INTO revoked_sessions (user_id, session_hash, revoked_at)
             SELECT id, ?2, ?3 FROM users WHERE id = ?1 AND erased_at IS NULL
             ON CONFLICT (user_id, session_hash) DO UPDATE SET revoked_at = ?3",
            &params![user, &session.0, cx.now],
        )?,
    };
    if changed == 0 {
        return Err(Error::UnknownUser);
    }
    notices::send(tx, notices::ACCESS, user);
    Ok(())
}

/// Sets a revocation that is dated far in the future to now, if the clock is believed. Returns
/// whether it did.
pub fn correct_revocation(tx: &mut Tx<'_>, cx: &Cx, user: UserId) -> Result<bool> {
    if !known_time::is_near(tx, cx)? {
        return Ok(false);
    }
    let corrected = tx.execute(
        "UPDATE users SET tokens_revoked_at = ?2 WHERE id = ?1 AND tokens_revoked_at > ?3",
        &params![user, cx.now, cx.now.plus(known_time::FAR)],
    )?;
    Ok(corrected == 1)
}

/// Records that a user's token is in use.
pub fn used(tx: &mut Tx<'_>, cx: &Cx, credential: &Credential) -> db::Result<()> {
    reminders::seen(tx, cx, credential.user)
}

/// Records that many tokens are in use, as [`used`] does for one.
pub fn all_used(tx: &mut Tx<'_>, cx: &Cx, credentials: &[Credential]) -> db::Result<()> {
    reminders::all_seen(tx, cx, credentials)
}

/// Forgets up to `limit` sessions of apps that ended a day ago. Returns how many there were.
pub fn purge(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let due = tx.query(
        "SELECT user_id, session_hash FROM revoked_sessions WHERE revoked_at < ?1
         ORDER BY revoked_at LIMIT ?2",
        &params![cx.now.plus(-LONGEST), limit],
        |row| Ok((row.int(0)?, row.blob(1)?.to_vec())),
    )?;
    let rows: Vec<_> = due.iter().map(|(user, hash)| params![*user, hash.as_slice()]).collect();
    tx.batch("DELETE FROM revoked_sessions WHERE user_id = ?1 AND session_hash = ?2", &rows)?;
    Ok(due.len() as u64)
}
