//! Sessions of browsers and other clients that keep a cookie.

use std::net::IpAddr;

use db::{Tx, params};

use crate::key::{self, Key, Kind};
use crate::users::{self, Credentials};
use crate::{Cx, Result, Time, UserId, reminders, topics};

/// A session ends when it was not used for so long,
pub const IDLE: i64 = 14 * Time::DAY;
/// and so long after the login in any case.
pub const ABSOLUTE: i64 = 30 * Time::DAY;
/// How precisely the last use is known: each note of it is a write.
pub const SEEN_EVERY: i64 = Time::MINUTE;
/// How many sessions a user has at most: a program that logs in for every call must not fill the
/// database.
pub const MOST: usize = 100;
/// Characters that are kept of what a client says of itself.
const USER_AGENT_CHARS: usize = 200;

/// Where a session comes from, for its owner to recognize it by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    address: String,
    user_agent: String,
}

impl Client {
    /// A client at an address, and what it says of itself; control characters and all beyond 200
    /// characters are dropped.
    pub fn new(address: Option<IpAddr>, user_agent: &str) -> Self {
        let address = address.map(|address| address.to_canonical().to_string());
        let shown = user_agent.chars().filter(|c| !c.is_control());
        Self {
            address: address.unwrap_or_default(),
            user_agent: shown.take(USER_AGENT_CHARS).collect(),
        }
    }
}

/// A session that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// When it was last seen in use, to [`SEEN_EVERY`].
    pub last_seen_at: Time,
    /// When it ends, if it is not used until then.
    pub expires_at: Time,
}

/// A session as its owner sees it in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name among the owner's sessions.
    pub id: i64,
    /// When it was started.
    pub created_at: Time,
    /// When it was last seen in use, to [`SEEN_EVERY`].
    pub last_seen_at: Time,
    /// From where it was started; empty where that is not known.
    pub address: String,
    /// What the client said of itself; empty where it said nothing.
    pub user_agent: String,
    /// What names it; it never leaves the server.
    pub key: Key,
}

/// Starts a session and returns its token, which is stored nowhere. `replaced` ends with it, and
/// so do those that were least recently seen where there are [`MOST`].
///
/// # Errors
/// [`Error::AuthenticationFailed`](crate::Error::AuthenticationFailed) where the password was
/// changed or the account disabled since the credentials were read.
pub fn start(
    tx: &mut Tx<'_>,
    cx: &Cx,
    credentials: &Credentials,
    secret: &[u8; 32],
    client: &Client,
    replaced: Option<&Key>,
) -> Result<String> {
    users::confirm(tx, credentials)?;
    if let Some(replaced) = replaced {
        end(tx, replaced)?;
    }
    let user = credentials.user;
    tx.execute(
        "DELETE FROM sessions WHERE user_id = ?1 AND (last_seen_at <= ?2 OR created_at <= ?3)",
        &params![user, cx.now.plus(-IDLE), cx.now.plus(-ABSOLUTE)],
    )?;
    make_room(tx, user)?;
    tx.execute(
        "INSERT INTO sessions
         (user_id, token_hash, created_at, last_seen_at, address, user_agent)
         VALUES (?1, ?2, ?3, ?3, ?4, ?5)",
        &params![
            user,
            Key::new(user, Kind::Session, secret).hash(),
            cx.now,
            client.address.as_str(),
            client.user_agent.as_str()
        ],
    )?;
    reminders::back(tx, cx, user)?;
    Ok(key::token(user, Kind::Session, secret))
}

/// Ends the least recently seen, so that there is room for one more.
fn make_room(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    let mut sessions = tx.query(
        "SELECT token_hash, last_seen_at FROM sessions WHERE user_id = ?1",
        &params![user],
        |row| Ok((row.int(1)?, Key::stored(user, Kind::Session, row.blob(0)?)?)),
    )?;
    let excess = (sessions.len() + 1).saturating_sub(MOST);
    if excess > 0 {
        sessions.sort_unstable_by_key(|(last_seen_at, _)| *last_seen_at);
    }
    sessions.iter().take(excess).try_for_each(|(_, key)| end(tx, key))
}

/// The session, if it holds at this moment.
pub fn find(tx: &mut Tx<'_>, cx: &Cx, key: &Key) -> Result<Option<Session>> {
    let found = tx.query_opt(
        "SELECT created_at, last_seen_at FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
        &params![key.user, key.hash()],
        |row| Ok((Time(row.int(0)?), Time(row.int(1)?))),
    )?;
    Ok(found
        .map(|(created_at, last_seen_at)| Session {
            last_seen_at,
            expires_at: last_seen_at.plus(IDLE).min(created_at.plus(ABSOLUTE)),
        })
        .filter(|session| session.expires_at > cx.now))
}

/// The owner's sessions that hold at this moment, the newest first; at most [`MOST`].
pub fn list(tx: &mut Tx<'_>, cx: &Cx, owner: UserId) -> Result<Vec<Listed>> {
    let mut sessions = tx.query(
        "SELECT token_hash, created_at, last_seen_at, address, user_agent FROM sessions
         WHERE user_id = ?1 AND last_seen_at > ?2 AND created_at > ?3",
        &params![owner, cx.now.plus(-IDLE), cx.now.plus(-ABSOLUTE)],
        |row| {
            let key = Key::stored(owner, Kind::Session, row.blob(0)?)?;
            Ok(Listed {
                id: key.id(),
                created_at: Time(row.int(1)?),
                last_seen_at: Time(row.int(2)?),
                address: row.text(3)?.to_owned(),
                user_agent: row.text(4)?.to_owned(),
                key,
            })
        },
    )?;
    sessions.sort_unstable_by_key(|session| (-session.created_at.0, session.id));
    sessions.truncate(MOST);
    Ok(sessions)
}

/// Notes that the session is in use. One that has ended stays so.
pub fn seen(tx: &mut Tx<'_>, cx: &Cx, key: &Key) -> db::Result<()> {
    tx.execute(SEEN, &params![key.user, key.hash(), cx.now, cx.now.plus(-IDLE)])?;
    reminders::back(tx, cx, key.user)
}

const SEEN: &str = "UPDATE sessions SET last_seen_at = ?3
         WHERE user_id = ?1 AND token_hash = ?2 AND last_seen_at < ?3 AND last_seen_at > ?4";

/// The sessions of some users that hold at this moment, and when each was last seen.
pub fn holding(tx: &mut Tx<'_>, cx: &Cx, owners: &[i64]) -> Result<Vec<(Key, Time)>> {
    Ok(tx.query(
        "SELECT user_id, last_seen_at, token_hash FROM sessions
         WHERE user_id IN (SELECT value FROM json_each(?1))
         AND last_seen_at > ?2 AND created_at > ?3",
        &params![owners, cx.now.plus(-IDLE), cx.now.plus(-ABSOLUTE)],
        |row| {
            let owner = UserId::stored(row.int(0)?);
            Ok((Key::stored(owner, Kind::Session, row.blob(2)?)?, Time(row.int(1)?)))
        },
    )?)
}

/// Notes that many sessions are in use, as [`seen`] does it for one.
pub fn all_seen(tx: &mut Tx<'_>, cx: &Cx, keys: &[Key]) -> db::Result<()> {
    let idle = cx.now.plus(-IDLE);
    let rows: Vec<_> = keys.iter().map(|key| params![key.user, key.hash(), cx.now, idle]).collect();
    tx.batch(SEEN, &rows)?;
    reminders::all_back(tx, cx, keys)
}

/// Ends a session.
pub fn end(tx: &mut Tx<'_>, key: &Key) -> Result<()> {
    tx.execute(
        "DELETE FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
        &params![key.user, key.hash()],
    )?;
    topics::tell(tx, topics::ACCESS, key.user);
    Ok(())
}

/// Ends the owner's session of that id and returns what named it; `None` where there is none.
pub fn end_by_id(tx: &mut Tx<'_>, owner: UserId, id: i64) -> Result<Option<Key>> {
    let keys =
        tx.query("SELECT token_hash FROM sessions WHERE user_id = ?1", &params![owner], |row| {
            Key::stored(owner, Kind::Session, row.blob(0)?)
        })?;
    let named = keys.into_iter().find(|key| key.id() == id);
    named.iter().try_for_each(|key| end(tx, key))?;
    Ok(named)
}

/// Ends all sessions of a user but one, or all.
pub fn end_others(tx: &mut Tx<'_>, owner: UserId, keep: Option<&Key>) -> Result<()> {
    let Some(keep) = keep else { return end_all(tx, owner) };
    tx.execute(
        "DELETE FROM sessions WHERE user_id = ?1 AND token_hash <> ?2",
        &params![owner, keep.hash()],
    )?;
    topics::tell(tx, topics::ACCESS, owner);
    Ok(())
}

/// Ends all sessions of a user.
pub fn end_all(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    tx.execute("DELETE FROM sessions WHERE user_id = ?1", &params![user])?;
    topics::tell(tx, topics::ACCESS, user);
    Ok(())
}

/// Ends all sessions and tokens of everybody: a restored database must not bring back what was
/// ended. Returns how many there were.
pub fn end_everybodys(tx: &mut Tx<'_>) -> db::Result<u64> {
    Ok(tx.execute("DELETE FROM sessions", &[])? + tx.execute("DELETE FROM tokens", &[])?)
}
