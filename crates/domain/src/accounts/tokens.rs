//! Tokens of programs: valid until they expire or are revoked, for what their scopes allow.

use db::{Tx, params};

use crate::accounts::users::{self, StoredPassword};
use crate::base::credential;
use crate::base::text::TokenName;
use crate::base::{Credential, CredentialKind, Cx, Error, Invalid, Result, Time, UserId};
use crate::outbox::{known_time, notices, reminders};

/// Tokens that a user can have.
pub const MOST: usize = 100;
/// How precisely the last use is recorded, as each record is a write.
pub const USED_EVERY: i64 = Time::MINUTE;

/// Something that a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To read messages.
    Read = 1,
    /// To send messages and to change the state of existing ones.
    Write = 2,
    /// To change the account.
    Account = 4,
}

impl Scope {
    /// All scopes, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Account];

    /// The name on the wire.
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

    /// What pages get by default: everything but the account.
    pub fn of_messages() -> Self {
        Self(Scope::Read as i64 | Scope::Write as i64)
    }

    /// The scopes as the bits of one byte.
    pub fn bits(self) -> u8 {
        u8::try_from(self.0).expect("there are three of them")
    }

    /// The scopes of these bits, at least one.
    pub fn from_bits(bits: u8) -> Option<Self> {
        let bits = i64::from(bits);
        (bits != 0 && bits & !Self::all().0 == 0).then_some(Self(bits))
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

/// A token to create.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The name that its owner gave it.
    pub name: TokenName,
    /// What it allows.
    pub scopes: Scopes,
    /// When it expires; `None` for never.
    pub expires_at: Option<Time>,
}

impl NewToken {
    /// The same token, but valid for no longer than the credential that creates it.
    ///
    /// # Errors
    /// Where it was to be valid for longer.
    pub fn within(self, expires_at: Option<Time>) -> Result<Self, Invalid> {
        let Some(end) = expires_at else { return Ok(self) };
        if self.expires_at.is_some_and(|own| own > end) {
            let problem = "it must not be later than the end of the token that creates it";
            return Err(Invalid::new("expires_at", problem));
        }
        Ok(Self { expires_at: self.expires_at.or(expires_at), ..self })
    }
}

/// A token in its owner's list, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its id among the owner's tokens.
    pub id: i64,
    /// The name that its owner gave it.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was created.
    pub created_at: Time,
    /// When it expires.
    pub expires_at: Option<Time>,
    /// When it was last used, to [`USED_EVERY`].
    pub last_used_at: Option<Time>,
}

/// A token that was just created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The token itself, which is stored nowhere.
    pub token: String,
    /// Its entry in the list.
    pub listed: TokenInfo,
}

/// A token that is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidToken {
    /// What it allows.
    pub scopes: Scopes,
    /// When it expires.
    pub expires_at: Option<Time>,
    /// When it was last used, to [`USED_EVERY`].
    pub last_used_at: Option<Time>,
}

/// Creates a token for which a password was checked.
///
/// # Errors
/// [`Error::AuthenticationFailed`] where the password was changed or the account disabled since
/// `checked` was read; and those of [`create`].
pub fn create_by_password(
    tx: &mut Tx<'_>,
    cx: &Cx,
    checked: &StoredPassword,
    secret: &[u8; 32],
    new: &NewToken,
) -> Result<Created> {
    users::confirm(tx, checked)?;
    let created = create(tx, cx, checked.user, secret, new)?;
    let credential = Credential::new(checked.user, CredentialKind::Token, secret);
    tx.execute(
        "UPDATE tokens SET by_password = 1 WHERE user_id = ?1 AND token_hash = ?2",
        &params![checked.user, credential.hash()],
    )?;
    Ok(created)
}

/// Creates a token for an owner who is known otherwise than by a password. Where it is by another
/// credential, [`credentials::confirm`](crate::credentials::confirm) comes first.
///
/// # Errors
/// [`Error::Invalid`] where it would have expired already, [`Error::NotLoggedIn`] where the owner
/// is disabled, [`Error::SystemUser`], [`Error::TooManyTokens`] where there are [`MOST`] that have
/// not expired.
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
    users::confirm_person(tx, owner)?;
    if known_time::is_near(tx, cx)? {
        tx.execute(
            "DELETE FROM tokens WHERE user_id = ?1 AND expires_at <= ?2",
            &params![owner, cx.now],
        )?;
    }
    if credentials(tx, owner)?.len() >= MOST {
        return Err(Error::TooManyTokens);
    }
    let credential = Credential::new(owner, CredentialKind::Token, secret);
    tx.execute(
        "INSERT INTO tokens (user_id, token_hash, name, scopes, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &params![owner, credential.hash(), new.name.as_str(), new.scopes.0, cx.now, new.expires_at],
    )?;
    let listed = TokenInfo {
        id: credential.id(),
        name: new.name.as_str().to_owned(),
        scopes: new.scopes,
        created_at: cx.now,
        expires_at: new.expires_at,
        last_used_at: None,
    };
    Ok(Created { token: credential::token(owner, CredentialKind::Token, secret), listed })
}

/// The token, if it is valid now.
pub fn find(tx: &mut Tx<'_>, cx: &Cx, credential: &Credential) -> Result<Option<ValidToken>> {
    let found = tx.query_opt(
        "SELECT scopes, expires_at, last_used_at FROM tokens
         WHERE user_id = ?1 AND token_hash = ?2",
        &params![credential.user, credential.hash()],
        |row| {
            Ok(ValidToken {
                scopes: Scopes(row.int(0)?),
                expires_at: row.opt_int(1)?.map(Time),
                last_used_at: row.opt_int(2)?.map(Time),
            })
        },
    )?;
    Ok(found.filter(|token| token.expires_at.is_none_or(|end| end > cx.now)))
}

/// Records that the token is in use.
pub fn used(tx: &mut Tx<'_>, cx: &Cx, credential: &Credential) -> db::Result<()> {
    tx.execute(USED, &params![credential.user, credential.hash(), cx.now])?;
    reminders::seen(tx, cx, credential.user)
}

const USED: &str = "UPDATE tokens SET last_used_at = ?3
         WHERE user_id = ?1 AND token_hash = ?2 AND coalesce(last_used_at, 0) < ?3";

/// The valid tokens of some users, and when each was last used.
pub fn valid_of(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owners: &[i64],
) -> Result<Vec<(Credential, Option<Time>)>> {
    Ok(tx.query(
        "SELECT user_id, last_used_at, token_hash FROM tokens
         WHERE user_id IN rarray(?1)
         AND coalesce(expires_at, ?2 + 1) > ?2",
        &params![owners, cx.now],
        |row| {
            let owner = UserId::stored(row.int(0)?);
            let credential = Credential::stored(owner, CredentialKind::Token, row.blob(2)?)?;
            Ok((credential, row.opt_int(1)?.map(Time)))
        },
    )?)
}

/// Records that many tokens are in use, as [`used`] does for one.
pub fn all_used(tx: &mut Tx<'_>, cx: &Cx, credentials: &[Credential]) -> db::Result<()> {
    let rows: Vec<_> = credentials
        .iter()
        .map(|credential| params![credential.user, credential.hash(), cx.now])
        .collect();
    tx.batch(USED, &rows)?;
    reminders::all_seen(tx, cx, credentials)
}

/// The owner's tokens, newest first. Expired ones are listed until the next token is created.
pub fn list(tx: &mut Tx<'_>, owner: UserId) -> Result<Vec<TokenInfo>> {
    let mut tokens = tx.query(
        "SELECT token_hash, name, scopes, created_at, expires_at, last_used_at FROM tokens
         WHERE user_id = ?1",
        &params![owner],
        |row| {
            Ok(TokenInfo {
                id: Credential::stored(owner, CredentialKind::Token, row.blob(0)?)?.id(),
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

/// The owner's token, if it is valid now, as [`list`] shows it.
pub fn info(tx: &mut Tx<'_>, cx: &Cx, credential: &Credential) -> Result<Option<TokenInfo>> {
    let valid = find(tx, cx, credential)?.is_some();
    let mut listed = if valid { list(tx, credential.user)? } else { Vec::new() };
    let at = listed.iter().position(|token| token.id == credential.id());
    Ok(at.map(|at| listed.swap_remove(at)))
}

/// Revokes the owner's token of that id and returns its credential; `None` where there is none.
pub fn revoke(tx: &mut Tx<'_>, owner: UserId, id: i64) -> Result<Option<Credential>> {
    let Some(credential) =
        credentials(tx, owner)?.into_iter().find(|credential| credential.id() == id)
    else {
        return Ok(None);
    };
    tx.execute(
        "DELETE FROM tokens WHERE user_id = ?1 AND token_hash = ?2",
        &params![owner, credential.hash()],
    )?;
    notices::send(tx, notices::ACCESS, owner);
    Ok(Some(credential))
}

fn credentials(tx: &mut Tx<'_>, owner: UserId) -> Result<Vec<Credential>> {
    Ok(tx.query("SELECT token_hash FROM tokens WHERE user_id = ?1", &params![owner], |row| {
        Credential::stored(owner, CredentialKind::Token, row.blob(0)?)
    })?)
}
