//! Keys of the app's own server: valid until they expire or are revoked, for what their scopes
//! allow.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use db::{Notice, Row, Tx, params};
use sha2::{Digest as _, Sha256};

use crate::base::text::{TokenName, fold_look};
use crate::base::{Cx, Invalid, Result, ServerKeyId, Time};
use crate::outbox::notices;

/// How precisely the last use is recorded, as each record is a write.
pub const USED_EVERY: i64 = Time::MINUTE;
/// How keys begin; scanners for leaked secrets find them by it.
pub const PREFIX: &str = "prk_";

/// Something that a server key may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyScope {
    /// To create, change, find and erase users.
    Users = 1,
    /// To make and revoke browser tokens.
    Tokens = 2,
    /// To act for a user.
    Act = 4,
    /// To read the unread counts of all users.
    Unread = 8,
    /// To send as a system user.
    System = 16,
    /// To handle reports.
    Moderation = 32,
    /// To export users' data.
    Export = 64,
    /// Everything that the admin page shows.
    Admin = 128,
}

impl KeyScope {
    /// All scopes, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Users,
        Self::Tokens,
        Self::Act,
        Self::Unread,
        Self::System,
        Self::Moderation,
        Self::Export,
        Self::Admin,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Tokens => "tokens",
            Self::Act => "act",
            Self::Unread => "unread",
            Self::System => "system",
            Self::Moderation => "moderation",
            Self::Export => "export",
            Self::Admin => "admin",
        }
    }
}

/// What a server key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyScopes(i64);

impl KeyScopes {
    /// Everything but `admin`: what the key of the configuration allows.
    pub fn of_an_app() -> Self {
        let scopes = KeyScope::ALL.into_iter().filter(|scope| *scope != KeyScope::Admin);
        Self(scopes.fold(0, |bits, scope| bits | scope as i64))
    }

    /// The scopes of those names, at least one.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Invalid> {
        let mut bits = 0;
        for name in names {
            let Some(scope) = KeyScope::ALL.into_iter().find(|scope| scope.name() == name) else {
                let known = KeyScope::ALL.map(KeyScope::name).join(", ");
                return Err(Invalid::new("scopes", format!("each must be one of {known}")));
            };
            bits |= scope as i64;
        }
        if bits == 0 {
            return Err(Invalid::new("scopes", "there must be at least one"));
        }
        Ok(Self(bits))
    }

    /// Whether it is allowed.
    pub fn contains(self, scope: KeyScope) -> bool {
        self.0 & scope as i64 != 0
    }

    /// Their names, each once.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        KeyScope::ALL.into_iter().filter(move |scope| self.contains(*scope)).map(KeyScope::name)
    }
}

/// The hash of a key, which is all that is stored of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a key as its owner sends it.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

/// A server key, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerKey {
    /// The id.
    pub id: ServerKeyId,
    /// The name that the operator gave it.
    pub name: String,
    /// What it allows.
    pub scopes: KeyScopes,
    /// When it expires; `None` for never.
    pub expires_at: Option<Time>,
}

/// A key that is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidKey {
    /// The key.
    pub key: ServerKey,
    /// When it ends: it expires, or it was rotated and this is the one before.
    pub until: Option<Time>,
    /// When it was last used, to [`USED_EVERY`].
    pub last_used_at: Option<Time>,
}

/// A key in the operator's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key.
    pub key: ServerKey,
    /// When it was created.
    pub created_at: Time,
    /// When it was last used, to [`USED_EVERY`].
    pub last_used_at: Option<Time>,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
    /// Until when the key from before the last rotation works.
    pub previous_until: Option<Time>,
}

/// The name of the key of the configuration, which no other has.
pub const CONFIGURED_NAME: &str = "configuration";

/// Creates a key that expires at a time, or never. Returns its id, and the key, which is stored
/// nowhere.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) where the name looks like [`CONFIGURED_NAME`].
pub fn create(
    tx: &mut Tx<'_>,
    cx: &Cx,
    name: &TokenName,
    scopes: KeyScopes,
    expires_at: Option<Time>,
) -> Result<(ServerKeyId, String)> {
    if fold_look(name.as_str()) == CONFIGURED_NAME {
        return Err(Invalid::new("name", "the key of the configuration is called so").into());
    }
    let (key, hash) = make(cx);
    let id = tx.insert(
        "INSERT INTO server_keys (name, scopes, key_hash, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        &params![name.as_str(), scopes.0, &hash.0, cx.now, expires_at],
    )?;
    Ok((ServerKeyId::stored(id), key))
}

fn make(cx: &Cx) -> (String, KeyHash) {
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(cx.random::<32>()));
    let hash = KeyHash::of(key.as_bytes());
    (key, hash)
}

/// The key of that hash, if it is valid now.
pub fn find(tx: &mut Tx<'_>, cx: &Cx, hash: &KeyHash) -> Result<Option<ValidKey>> {
    let found = tx.query_opt(
        "SELECT id, name, scopes, expires_at, last_used_at, expires_at AS until FROM server_keys
         WHERE key_hash = ?1 AND revoked_at IS NULL
         UNION ALL
         SELECT id, name, scopes, expires_at, last_used_at, previous_until FROM server_keys
         WHERE previous_hash = ?1 AND revoked_at IS NULL",
        &params![&hash.0],
        |row| {
            let (key, until) = (read(row)?, row.opt_int(5)?.map(Time));
            let until = [key.expires_at, until].into_iter().flatten().min();
            Ok(ValidKey { key, until, last_used_at: row.opt_int(4)?.map(Time) })
        },
    )?;
    Ok(found.filter(|valid| valid.until.is_none_or(|until| until > cx.now)))
}

/// From the first four columns: id, name, scopes, `expires_at`.
fn read(row: &Row<'_>) -> db::Result<ServerKey> {
    Ok(ServerKey {
        id: ServerKeyId::stored(row.int(0)?),
        name: row.text(1)?.to_owned(),
        scopes: KeyScopes(row.int(2)?),
        expires_at: row.opt_int(3)?.map(Time),
    })
}

/// Records that the key is in use.
pub fn used(tx: &mut Tx<'_>, cx: &Cx, id: ServerKeyId) -> db::Result<()> {
    tx.execute(
        "UPDATE server_keys SET last_used_at = ?2
         WHERE id = ?1 AND coalesce(last_used_at, 0) < ?2",
        &params![id, cx.now],
    )?;
    Ok(())
}

/// All keys, the revoked and expired ones too, in the order in which they were created.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<KeyInfo>> {
    Ok(tx.query(
        "SELECT id, name, scopes, expires_at, created_at, last_used_at, revoked_at, previous_until
         FROM server_keys ORDER BY id",
        &[],
        |row| {
            Ok(KeyInfo {
                key: read(row)?,
                created_at: Time(row.int(4)?),
                last_used_at: row.opt_int(5)?.map(Time),
                revoked_at: row.opt_int(6)?.map(Time),
                previous_until: row.opt_int(7)?.map(Time),
            })
        },
    )?)
}

/// Revokes a key, and the one from before its rotation. Returns whether it exists. Repeating it
/// changes nothing.
pub fn revoke(tx: &mut Tx<'_>, cx: &Cx, id: ServerKeyId) -> Result<bool> {
    let revoked = tx.execute(
        "UPDATE server_keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1",
        &params![id, cx.now],
    )?;
    changed(tx, id);
    Ok(revoked == 1)
}

/// Gives a key another secret, and returns it; the one before works for `overlap` microseconds
/// longer, and any older one no more. `None` where there is no such key that is valid.
pub fn rotate(tx: &mut Tx<'_>, cx: &Cx, id: ServerKeyId, overlap: i64) -> Result<Option<String>> {
    let (key, hash) = make(cx);
    let rotated = tx.execute(
        "UPDATE server_keys SET previous_hash = key_hash, previous_until = ?3, key_hash = ?2
         WHERE id = ?1 AND revoked_at IS NULL AND coalesce(expires_at, ?4 + 1) > ?4",
        &params![id, &hash.0, cx.now.plus(overlap), cx.now],
    )?;
    changed(tx, id);
    Ok((rotated == 1).then_some(key))
}

/// Gives a key back the secret from before its last rotation: nobody has seen the one of now.
pub fn take_back_rotation(tx: &mut Tx<'_>, id: ServerKeyId) -> Result<()> {
    tx.execute(
        "UPDATE server_keys SET key_hash = previous_hash, previous_hash = NULL,
         previous_until = NULL WHERE id = ?1 AND previous_hash IS NOT NULL",
        &params![id],
    )?;
    changed(tx, id);
    Ok(())
}

/// Revokes all keys: a restored database must not bring back what was revoked.
pub fn revoke_all(tx: &mut Tx<'_>, cx: &Cx) -> db::Result<()> {
    let revoke = "UPDATE server_keys SET revoked_at = ?1 WHERE revoked_at IS NULL";
    tx.execute(revoke, &params![cx.now])?;
    changed(tx, ServerKeyId::CONFIGURED);
    Ok(())
}

fn changed(tx: &mut Tx<'_>, id: ServerKeyId) {
    tx.notify(Notice { topic: notices::SERVER_KEYS, key: id.get() });
}
