//! Sessions of browsers and other clients that keep a cookie.

use std::net::IpAddr;

use db::{Tx, params};

use crate::accounts::users::{self, StoredPassword};
use crate::base::credential;
use crate::base::{Credential, CredentialKind, Cx, Result, Time, UserId};
use crate::outbox::{known_time, notices, reminders};

/// A session ends after so long without use.
pub const IDLE: i64 = 14 * Time::DAY;
/// A session ends so long after sign-in, used or not.
pub const ABSOLUTE: i64 = 30 * Time::DAY;
/// How precisely the last use is recorded, as each record is a write.
pub const SEEN_EVERY: i64 = Time::MINUTE;
/// Sessions that a user can have: a program that signs in for every call must not fill the
/// database.
pub const MOST: usize = 100;
/// Characters kept of a `User-Agent`.
const USER_AGENT_CHARS: usize = 200;

/// Where a session was started, so that its owner can recognize it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    address: String,
    user_agent: String,
}

impl Client {
    /// A client at an address, with its `User-Agent`, of which control characters and everything
    /// beyond 200 characters are dropped.
    pub fn new(address: Option<IpAddr>, user_agent: &str) -> Self {
        let address = address.map(|address| address.to_canonical().to_string());
        let shown = user_agent.chars().filter(|c| !c.is_control());
        Self {
            address: address.unwrap_or_default(),
            user_agent: shown.take(USER_AGENT_CHARS).collect(),
        }
    }
}

/// A session that is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidSession {
    /// When it was last used, to [`SEEN_EVERY`].
    pub last_seen_at: Time,
    /// When it ends unless it is used before.
    pub expires_at: Time,
}

/// A session in its owner's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its id among the owner's sessions.
    pub id: i64,
    /// When it was started.
    pub created_at: Time,
    /// When it was last used, to [`SEEN_EVERY`].
    pub last_seen_at: Time,
    /// The address from which it was started; empty where unknown.
    pub address: String,
    /// The client's `User-Agent`; empty where it sent none.
    pub user_agent: String,
    /// What identifies it; never leaves the server.
    pub credential: Credential,
}

/// Starts a session and returns its token, which is stored nowhere. Ends `replaced`, and the least
/// recently used sessions where there are [`MOST`].
///
/// # Errors
/// [`Error::AuthenticationFailed`](crate::Error::AuthenticationFailed) where the password was
/// changed or the account disabled since `checked` was read.
pub fn start(
    tx: &mut Tx<'_>,
    cx: &Cx,
    checked: &StoredPassword,
    secret: &[u8; 32],
    client: &Client,
    replaced: Option<&Credential>,
) -> Result<String> {
    users::confirm(tx, checked)?;
    if let Some(replaced) = replaced {
        end(tx, replaced)?;
    }
    let user = checked.user;
    if known_time::is_near(tx, cx)? {
        let latest = cx.now.plus(known_time::FAR);
        tx.execute(
            "DELETE FROM sessions
             WHERE user_id = ?1 AND (last_seen_at <= ?2 OR created_at <= ?3 OR created_at > ?4)",
            &params![user, cx.now.plus(-IDLE), cx.now.plus(-ABSOLUTE), latest],
        )?;
    }
    make_room(tx, user)?;
    tx.execute(
        "INSERT INTO sessions
         (user_id, token_hash, created_at, last_seen_at, address, user_agent)
         VALUES (?1, ?2, ?3, ?3, ?4, ?5)",
        &params![
            user,
            Credential::new(user, CredentialKind::Session, secret).hash(),
            cx.now,
            client.address.as_str(),
            client.user_agent.as_str()
        ],
    )?;
    reminders::seen(tx, cx, user)?;
    Ok(credential::token(user, CredentialKind::Session, secret))
}

/// Ends the least recently used sessions, so that there is room for one more.
fn make_room(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    let mut sessions = tx.query(
        "SELECT token_hash, last_seen_at FROM sessions WHERE user_id = ?1",
        &params![user],
        |row| Ok((row.int(1)?, Credential::stored(user, CredentialKind::Session, row.blob(0)?)?)),
    )?;
    let excess = (sessions.len() + 1).saturating_sub(MOST);
    if excess > 0 {
        sessions.sort_unstable_by_key(|(last_seen_at, _)| *last_seen_at);
    }
    sessions.iter().take(excess).try_for_each(|(_, credential)| end(tx, credential))
}

/// The session, if it is valid now. Of one that a wrong clock has dated far in the future, nobody
/// knows when it should end, so it has ended.
pub fn find(tx: &mut Tx<'_>, cx: &Cx, credential: &Credential) -> Result<Option<ValidSession>> {
    let found = tx.query_opt(
        "SELECT created_at, last_seen_at FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
        &params![credential.user, credential.hash()],
        |row| Ok((Time(row.int(0)?), Time(row.int(1)?))),
    )?;
    let Some((created_at, last_seen_at)) = found else { return Ok(None) };
    if created_at > cx.now.plus(known_time::FAR) && known_time::is_near(tx, cx)? {
        return Ok(None);
    }
    let expires_at = last_seen_at.plus(IDLE).min(created_at.plus(ABSOLUTE));
    Ok((expires_at > cx.now).then_some(ValidSession { last_seen_at, expires_at }))
}

/// The owner's valid sessions, newest first; at most [`MOST`].
pub fn list(tx: &mut Tx<'_>, cx: &Cx, owner: UserId) -> Result<Vec<SessionInfo>> {
    let mut sessions = tx.query(
        "SELECT token_hash, created_at, last_seen_at, address, user_agent FROM sessions
         WHERE user_id = ?1 AND last_seen_at > ?2 AND created_at > ?3",
        &params![owner, cx.now.plus(-IDLE), cx.now.plus(-ABSOLUTE)],
        |row| {
            let credential = Credential::stored(owner, CredentialKind::Session, row.blob(0)?)?;
            Ok(SessionInfo {
                id: credential.id(),
                created_at: Time(row.int(1)?),
                last_seen_at: Time(row.int(2)?),
                address: row.text(3)?.to_owned(),
                user_agent: row.text(4)?.to_owned(),
                credential,
            })
        },
    )?;
    sessions.sort_unstable_by_key(|session| (-session.created_at.0, session.id));
    sessions.truncate(MOST);
    Ok(sessions)
}

/// Records that the session is in use. A session that has ended stays ended.
pub fn seen(tx: &mut Tx<'_>, cx: &Cx, credential: &Credential) -> db::Result<()> {
    tx.execute(SEEN, &params![credential.user, credential.hash(), cx.now, cx.now.plus(-IDLE)])?;
    reminders::seen(tx, cx, credential.user)
}

const SEEN: &str = "UPDATE sessions SET last_seen_at = ?3
         WHERE user_id = ?1 AND token_hash = ?2 AND last_seen_at < ?3 AND last_seen_at > ?4";

/// The valid sessions of some users, and when each was last used.
pub fn valid_of(tx: &mut Tx<'_>, cx: &Cx, owners: &[i64]) -> Result<Vec<(Credential, Time)>> {
    Ok(tx.query(
        "SELECT user_id, last_seen_at, token_hash FROM sessions
         WHERE user_id IN rarray(?1)
         AND last_seen_at > ?2 AND created_at > ?3",
        &params![owners, cx.now.plus(-IDLE), cx.now.plus(-ABSOLUTE)],
        |row| {
            let owner = UserId::stored(row.int(0)?);
            Ok((
                Credential::stored(owner, CredentialKind::Session, row.blob(2)?)?,
                Time(row.int(1)?),
            ))
        },
    )?)
}

/// Records that many sessions are in use, as [`seen`] does for one.
pub fn all_seen(tx: &mut Tx<'_>, cx: &Cx, credentials: &[Credential]) -> db::Result<()> {
    let idle = cx.now.plus(-IDLE);
    let rows: Vec<_> = credentials
        .iter()
        .map(|credential| params![credential.user, credential.hash(), cx.now, idle])
        .collect();
    tx.batch(SEEN, &rows)?;
    reminders::all_seen(tx, cx, credentials)
}

/// Ends a session.
pub fn end(tx: &mut Tx<'_>, credential: &Credential) -> Result<()> {
    tx.execute(
        "DELETE FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
        &params![credential.user, credential.hash()],
    )?;
    notices::send(tx, notices::ACCESS, credential.user);
    Ok(())
}

/// Ends the owner's session of that id and returns its credential; `None` where there is none.
pub fn end_by_id(tx: &mut Tx<'_>, owner: UserId, id: i64) -> Result<Option<Credential>> {
    let credentials =
        tx.query("SELECT token_hash FROM sessions WHERE user_id = ?1", &params![owner], |row| {
            Credential::stored(owner, CredentialKind::Session, row.blob(0)?)
        })?;
    let named = credentials.into_iter().find(|credential| credential.id() == id);
    named.iter().try_for_each(|credential| end(tx, credential))?;
    Ok(named)
}

/// Ends all sessions and tokens of all users: a restored database must not bring back what was
/// ended. Returns how many there were.
pub fn end_all_users(tx: &mut Tx<'_>) -> db::Result<u64> {
    Ok(tx.execute("DELETE FROM sessions", &[])? + tx.execute("DELETE FROM tokens", &[])?)
}
