//! Sessions of browsers and other clients that keep a cookie.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use db::{Tx, params};
use sha2::{Digest as _, Sha256};

use crate::users::Credentials;
use crate::{Cx, Error, Result, Time, UserId};

/// A session ends when it was not used for so long,
pub const IDLE: i64 = 14 * Time::DAY;
/// and so long after the login in any case.
pub const ABSOLUTE: i64 = 30 * Time::DAY;
/// How precisely the last use is known: each note of it is a write.
pub const SEEN_EVERY: i64 = Time::MINUTE;

/// What names a session in the database: the user and a hash of the secret part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose session it is, if it is one.
    pub user: UserId,
    hash: [u8; 32],
}

impl Key {
    /// Reads a token, `<user id>.<256 random bits>`. The id in front lets a look-up name the owner.
    pub fn parse(token: &str) -> Option<Self> {
        let (user, secret) = token.split_once('.')?;
        // A token is spelled in one way: `+7` and `07` would be numbers too.
        let user = user.starts_with(|c| matches!(c, '1'..='9')).then_some(user)?;
        let user = UserId::new(user.parse().ok()?)?;
        let mut bytes = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
        (length == bytes.len()).then(|| Self { user, hash: Sha256::digest(bytes).into() })
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

/// Starts a session and returns its token, which is stored nowhere. `replaced` ends with it.
///
/// # Errors
/// [`Error::AuthenticationFailed`] where the password was changed or the account disabled since
/// the credentials were read.
pub fn start(
    tx: &mut Tx<'_>,
    cx: &Cx,
    credentials: &Credentials,
    secret: &[u8; 32],
    replaced: Option<&Key>,
) -> Result<String> {
    let user = credentials.user;
    let good = tx.query_opt(
        "SELECT 1 FROM users WHERE id = ?1 AND password_hash = ?2 AND disabled_at IS NULL",
        &params![user, credentials.password_hash.as_str()],
        |_| Ok(()),
    )?;
    good.ok_or(Error::AuthenticationFailed)?;
    if let Some(replaced) = replaced {
        end(tx, replaced)?;
    }
    tx.execute(
        "DELETE FROM sessions WHERE user_id = ?1 AND (last_seen_at <= ?2 OR created_at <= ?3)",
        &params![user, cx.now.plus(-IDLE), cx.now.plus(-ABSOLUTE)],
    )?;
    let hash: [u8; 32] = Sha256::digest(secret).into();
    tx.execute(
        "INSERT INTO sessions (user_id, token_hash, created_at, last_seen_at)
         VALUES (?1, ?2, ?3, ?3)",
        &params![user, &hash, cx.now],
    )?;
    Ok(format!("{}.{}", user.get(), URL_SAFE_NO_PAD.encode(secret)))
}

/// The session, if it holds at this moment.
pub fn find(tx: &mut Tx<'_>, cx: &Cx, key: &Key) -> Result<Option<Session>> {
    let found = tx.query_opt(
        "SELECT created_at, last_seen_at FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
        &params![key.user, &key.hash],
        |row| Ok((Time(row.int(0)?), Time(row.int(1)?))),
    )?;
    Ok(found
        .map(|(created_at, last_seen_at)| Session {
            last_seen_at,
            expires_at: last_seen_at.plus(IDLE).min(created_at.plus(ABSOLUTE)),
        })
        .filter(|session| session.expires_at > cx.now))
}

/// Notes that the session is in use. One that has ended stays so.
pub fn seen(tx: &mut Tx<'_>, cx: &Cx, key: &Key) -> db::Result<()> {
    tx.execute(
        "UPDATE sessions SET last_seen_at = ?3
         WHERE user_id = ?1 AND token_hash = ?2 AND last_seen_at < ?3 AND last_seen_at > ?4",
        &params![key.user, &key.hash, cx.now, cx.now.plus(-IDLE)],
    )?;
    Ok(())
}

/// Ends a session.
pub fn end(tx: &mut Tx<'_>, key: &Key) -> Result<()> {
    tx.execute(
        "DELETE FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
        &params![key.user, &key.hash],
    )?;
    Ok(())
}

/// Ends all sessions of a user.
pub fn end_all(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    tx.execute("DELETE FROM sessions WHERE user_id = ?1", &params![user])?;
    Ok(())
}

/// Ends all sessions of everybody: a restored database must not bring back what was ended.
pub fn end_everybodys(tx: &mut Tx<'_>) -> db::Result<u64> {
    tx.execute("DELETE FROM sessions", &[])
}
