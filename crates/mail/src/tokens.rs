//! Tokens of programs: they hold until they expire or are revoked, for what their scopes allow.

use db::{Tx, params};

use crate::key::{self, Key, Kind};
use crate::text::TokenName;
use crate::{Cx, Error, Invalid, Result, Time, UserId, reminders, topics, users};

/// How many tokens a user has at most.
pub const MOST: usize = 100;
/// How precisely the last use is known: each note of it is a write.
pub const USED_EVERY: i64 = Time::MINUTE;

/// One thing that a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To read messages.
    Read = 1,
    /// To write messages, and to change the state of those that are there.
    Write = 2,
    /// To change the account.
    Account = 4,
}

impl Scope {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Account];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "messages:read",
            Self::Write => "messages:write",
            Self::Account => "account",
        }
    }
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(i64);

impl Scopes {
    /// Everything that a token can allow.
    pub fn all() -> Self {
        Self(Scope::ALL.into_iter().fold(0, |bits, scope| bits | scope as i64))
    }

    /// The scopes of those names, at least one.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Invalid> {
        let mut bits = 0;
        for name in names {
            let Some(scope) = Scope::ALL.into_iter().find(|scope| scope.name() == name) else {
                let problem = "each must be messages:read, messages:write or account";
                return Err(Invalid::new("scopes", problem));
            };
            bits |= scope as i64;
        }
        if bits == 0 {
            return Err(Invalid::new("scopes", "there must be at least one"));
        }
        Ok(Self(bits))
    }

    /// Whether it is allowed.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope as i64 != 0
    }

    /// Their names, each once.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope)).map(Scope::name)
    }
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What its owner calls it.
    pub name: TokenName,
    /// What it allows.
    pub scopes: Scopes,
    /// When it ends; without it, when it is revoked.
    pub expires_at: Option<Time>,
}

/// A token as its owner sees it in the list: the secret is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its name among the owner's tokens.
    pub id: i64,
    /// What its owner calls it.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Time,
    /// When it ends by itself.
    pub expires_at: Option<Time>,
    /// When it was last used, to [`USED_EVERY`].
    pub last_used_at: Option<Time>,
}

/// A token that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The token itself, which is stored nowhere.
    pub token: String,
    /// What the list shows of it.
    pub listed: TokenInfo,
}

/// A token that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// What it allows.
    pub scopes: Scopes,
    /// When it ends by itself.
    pub expires_at: Option<Time>,
    /// When it was last used, to [`USED_EVERY`].
    pub last_used_at: Option<Time>,
}

/// Makes a token. Where a password was checked for it, [`users::confirm`] comes before it.
///
/// # Errors
/// [`Error::Invalid`] where it would have ended already, [`Error::NotLoggedIn`] where the owner is
/// disabled, [`Error::TooManyTokens`] where there are [`MOST`] that have not expired.
pub fn create(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    secret: &[u8; 32],
    new: &NewToken,
) -> Result<Created> {
    if new.expires_at.is_some_and(|end| end <= cx.now) {
        return Err(Invalid::new("expires_at", "it must be in the future").into());
    }
    users::confirm_enabled(tx, owner)?;
    tx.execute(
        "DELETE FROM tokens WHERE user_id = ?1 AND expires_at <= ?2",
        &params![owner, cx.now],
    )?;
    if keys(tx, owner)?.len() >= MOST {
        return Err(Error::TooManyTokens);
    }
    let key = Key::new(owner, Kind::Token, secret);
    tx.execute(
        "INSERT INTO tokens (user_id, token_hash, name, scopes, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &params![owner, key.hash(), new.name.as_str(), new.scopes.0, cx.now, new.expires_at],
    )?;
    let listed = TokenInfo {
        id: key.id(),
        name: new.name.as_str().to_owned(),
        scopes: new.scopes,
        created_at: cx.now,
        expires_at: new.expires_at,
        last_used_at: None,
    };
    Ok(Created { token: key::token(owner, Kind::Token, secret), listed })
}

/// What the token allows, if it holds at this moment.
pub fn find(tx: &mut Tx<'_>, cx: &Cx, key: &Key) -> Result<Option<Holding>> {
    let found = tx.query_opt(
        "SELECT scopes, expires_at, last_used_at FROM tokens
         WHERE user_id = ?1 AND token_hash = ?2",
        &params![key.user, key.hash()],
        |row| {
            Ok(Holding {
                scopes: Scopes(row.int(0)?),
                expires_at: row.opt_int(1)?.map(Time),
                last_used_at: row.opt_int(2)?.map(Time),
            })
        },
    )?;
    Ok(found.filter(|token| token.expires_at.is_none_or(|end| end > cx.now)))
}

/// Notes that the token is in use.
pub fn used(tx: &mut Tx<'_>, cx: &Cx, key: &Key) -> db::Result<()> {
    tx.execute(USED, &params![key.user, key.hash(), cx.now])?;
    reminders::back(tx, cx, key.user)
}

const USED: &str = "UPDATE tokens SET last_used_at = ?3
         WHERE user_id = ?1 AND token_hash = ?2 AND coalesce(last_used_at, 0) < ?3";

/// The tokens of some users that hold at this moment, and when each was last used.
pub fn holding(tx: &mut Tx<'_>, cx: &Cx, owners: &[i64]) -> Result<Vec<(Key, Option<Time>)>> {
    Ok(tx.query(
        "SELECT user_id, last_used_at, token_hash FROM tokens
         WHERE user_id IN (SELECT value FROM json_each(?1))
         AND coalesce(expires_at, ?2 + 1) > ?2",
        &params![owners, cx.now],
        |row| {
            let owner = UserId::stored(row.int(0)?);
            let key = Key::stored(owner, Kind::Token, row.blob(2)?)?;
            Ok((key, row.opt_int(1)?.map(Time)))
        },
    )?)
}

/// Notes that many tokens are in use, as [`used`] does it for one.
pub fn all_used(tx: &mut Tx<'_>, cx: &Cx, keys: &[Key]) -> db::Result<()> {
    let rows: Vec<_> = keys.iter().map(|key| params![key.user, key.hash(), cx.now]).collect();
    tx.batch(USED, &rows)?;
    reminders::all_back(tx, cx, keys)
}

/// The owner's tokens, the newest first; those that have expired are there until the next is made.
pub fn list(tx: &mut Tx<'_>, owner: UserId) -> Result<Vec<TokenInfo>> {
    let mut tokens = tx.query(
        "SELECT token_hash, name, scopes, created_at, expires_at, last_used_at FROM tokens
         WHERE user_id = ?1",
        &params![owner],
        |row| {
            Ok(TokenInfo {
                id: Key::stored(owner, Kind::Token, row.blob(0)?)?.id(),
                name: row.text(1)?.to_owned(),
                scopes: Scopes(row.int(2)?),
                created_at: Time(row.int(3)?),
                expires_at: row.opt_int(4)?.map(Time),
                last_used_at: row.opt_int(5)?.map(Time),
            })
        },
    )?;
    tokens.sort_unstable_by_key(|token| (-token.created_at.0, token.id));
    Ok(tokens)
}

/// Revokes the owner's token of that id and returns what named it; `None` where there is none.
pub fn revoke(tx: &mut Tx<'_>, owner: UserId, id: i64) -> Result<Option<Key>> {
    let Some(key) = keys(tx, owner)?.into_iter().find(|key| key.id() == id) else {
        return Ok(None);
    };
    tx.execute(
        "DELETE FROM tokens WHERE user_id = ?1 AND token_hash = ?2",
        &params![owner, key.hash()],
    )?;
    topics::tell(tx, topics::ACCESS, owner);
    Ok(Some(key))
}

/// Revokes all tokens of a user but one, or all.
pub fn end_others(tx: &mut Tx<'_>, owner: UserId, keep: Option<&Key>) -> Result<()> {
    let Some(keep) = keep else { return end_all(tx, owner) };
    tx.execute(
        "DELETE FROM tokens WHERE user_id = ?1 AND token_hash <> ?2",
        &params![owner, keep.hash()],
    )?;
    topics::tell(tx, topics::ACCESS, owner);
    Ok(())
}

/// Revokes all tokens of a user.
pub fn end_all(tx: &mut Tx<'_>, owner: UserId) -> Result<()> {
    tx.execute("DELETE FROM tokens WHERE user_id = ?1", &params![owner])?;
    topics::tell(tx, topics::ACCESS, owner);
    Ok(())
}

fn keys(tx: &mut Tx<'_>, owner: UserId) -> Result<Vec<Key>> {
    Ok(tx.query("SELECT token_hash FROM tokens WHERE user_id = ?1", &params![owner], |row| {
        Key::stored(owner, Kind::Token, row.blob(0)?)
    })?)
}
