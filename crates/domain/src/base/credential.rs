//! Credentials: the token of a session or of a program, as far as the database knows it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::base::id::{ServerKeyId, UserId};

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// A session; its token is in a cookie.
    Session,
    /// A token of a program; it is sent with every request.
    Token,
    /// A server key that acts for a user; it is sent with every call.
    ServerKey,
    /// A browser token, or a JWT of the app or its identity provider; nothing is stored of it.
    Browser,
}

impl CredentialKind {
    /// How its tokens begin; scanners for leaked secrets find programs' tokens by it.
    fn prefix(self) -> &'static str {
        match self {
            Self::Session => "",
            Self::Token => "prt_",
            Self::ServerKey => "prk_",
            Self::Browser => "pru_",
        }
    }
}

/// What identifies a session or a token: the user and a hash of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credential {
    /// The owner, if the credential is valid.
    pub user: UserId,
    /// What it is for.
    pub kind: CredentialKind,
    hash: [u8; 32],
}

impl Credential {
    /// Reads the token of a session, `<user id>.<256 random bits>`. The id in front lets a look-up
    /// name the owner.
    pub fn parse(token: &str) -> Option<Self> {
        Self::read(CredentialKind::Session, token)
    }

    /// Reads the token of a program, `prt_<user id>.<256 random bits>`.
    pub fn parse_token(token: &str) -> Option<Self> {
        Self::read(CredentialKind::Token, token)
    }

    /// A browser token or a JWT, by the hash of it.
    pub fn of_browser(user: UserId, hash: [u8; 32]) -> Self {
        Self { user, kind: CredentialKind::Browser, hash }
    }

    fn read(kind: CredentialKind, token: &str) -> Option<Self> {
        let (user, secret) = token.strip_prefix(kind.prefix())?.split_once('.')?;
        // There is one spelling of a token: `+7` and `07` would parse as numbers too.
        let user = user.starts_with(|c| matches!(c, '1'..='9')).then_some(user)?;
        let user = UserId::new(user.parse().ok()?)?;
        let mut bytes = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
        (length == bytes.len()).then(|| Self::new(user, kind, &bytes))
    }

    pub(crate) fn new(user: UserId, kind: CredentialKind, secret: &[u8; 32]) -> Self {
        Self { user, kind, hash: Sha256::digest(secret).into() }
    }

    /// What stands for a server key that acts for a user: in place of a hash it has the key's id,
    /// which is no secret. No row has that as its hash.
    pub fn of_server_key(user: UserId, key: ServerKeyId) -> Self {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&key.get().to_be_bytes());
        Self { user, kind: CredentialKind::ServerKey, hash }
    }

    /// A credential read from the database.
    pub(crate) fn stored(user: UserId, kind: CredentialKind, hash: &[u8]) -> db::Result<Self> {
        let wrong = |_| db::Error::Column { column: 0, expected: "a hash of 32 bytes" };
        Ok(Self { user, kind, hash: hash.try_into().map_err(wrong)? })
    }

    /// The hash of the secret, which is all that is stored of it.
    pub(crate) fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Its id among the owner's: the first 52 bits of the hash, from which the secret cannot be
    /// found.
    pub fn id(&self) -> i64 {
        let bits = self.hash.iter().take(7).fold(0, |bits, byte| (bits << 8) | i64::from(*byte));
        (bits >> 4).max(1)
    }
}

/// The token with that secret, as its owner keeps it.
pub fn token(user: UserId, kind: CredentialKind, secret: &[u8; 32]) -> String {
    format!("{}{}.{}", kind.prefix(), user.get(), URL_SAFE_NO_PAD.encode(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_whole_number_that_every_reader_of_json_keeps_and_never_zero() {
        let user = UserId::stored(1);
        let id = |hash: [u8; 32]| {
            Credential::stored(user, CredentialKind::Token, &hash).expect("it has 32 bytes").id()
        };
        assert_eq!(id([0; 32]), 1);
        assert_eq!(id([255; 32]), (1 << 52) - 1);
        let mut hash = [0; 32];
        hash[6] = 0x2f;
        assert_eq!(id(hash), 2);
    }
}
