//! Browser tokens: signed by this server, and stored nowhere.
//!
//! A token is `pru_<user id>.<what it says, and its signature>`. Nobody can read anything else of
//! it than times and numbers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::browser_tokens::{AppSession, Generation, Grant, Issued};
use domain::credential::Credential;
use domain::tokens::Scopes;
use domain::{Time, UserId};
use hmac::Hmac;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::secret::{self, Secret};

/// How tokens begin, so that scanners for leaked secrets find them.
pub(super) const PREFIX: &str = "pru_";
/// The layout of a token, in case there will be another.
const VERSION: u8 = 1;
/// Version, scopes, generation, origin, expiry, session.
const BODY: usize = 1 + 1 + 8 + 8 + 8 + 16;
const SIGNATURE: usize = 32;

/// Tokens that are remembered, with about 200 bytes each.
const REMEMBERED: usize = 32_768;

/// Makes and reads browser tokens.
pub(crate) struct BrowserTokens {
    key: Hmac<Sha256>,
    /// By what they say, which is no secret: the signatures that were right, and what they grant.
    verified: Cache<(UserId, [u8; BODY]), ([u8; SIGNATURE], Grant)>,
}

/// What a browser token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) user: UserId,
    pub(super) scopes: Scopes,
    pub(super) generation: Generation,
    pub(super) session: Option<AppSession>,
    pub(super) expires_at: Time,
}

impl BrowserTokens {
    pub(crate) fn new(key: &Secret) -> Self {
        let key = key.derive(b"postroom browser token");
        Self { key, verified: Cache::new(REMEMBERED) }
    }

    pub(super) fn make(&self, said: &Said) -> String {
        let body = encode(said);
        let signature: [u8; SIGNATURE] = self.sign(said.user, &body);
        let bytes = [body.as_slice(), &signature].concat();
        format!("{PREFIX}{}.{}", said.user.get(), URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a token that this server has signed, expired or not.
    pub(super) fn read(&self, token: &str) -> Option<Grant> {
        let (user, text) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let user = user.starts_with(|c| matches!(c, '1'..='9')).then_some(user)?;
        let user = UserId::new(user.parse().ok()?)?;
        let mut bytes = [0; BODY + SIGNATURE];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (body, signature) = bytes.split_first_chunk::<BODY>()?;
        if length != bytes.len() {
            return None;
        }
        let known = self.verified.get(&(user, *body));
        let ours = known.map_or_else(|| self.sign(user, body), |(ours, _)| ours);
        if !bool::from(ours.ct_eq(signature)) {
            return None;
        }
        if let Some((_, grant)) = known {
            return Some(grant);
        }
        let said = decode(user, body)?;
        // The signature is as secret as the token, so only a hash of it is kept.
        let credential = Credential::of_browser(user, Sha256::digest(signature).into());
        let grant = Grant {
            credential,
            scopes: said.scopes,
            issued: Issued::In(said.generation),
            session: said.session,
            expires_at: said.expires_at,
        };
        self.verified.insert((user, *body), (ours, grant));
        Some(grant)
    }

    fn sign(&self, user: UserId, body: &[u8; BODY]) -> [u8; SIGNATURE] {
        secret::sign(&self.key, &[user.get().to_be_bytes().as_slice(), body].concat())
    }
}

fn encode(said: &Said) -> [u8; BODY] {
    let session = said.session.map_or([0; 16], |session| session.0);
    let numbers = [said.generation.number, said.generation.origin, said.expires_at.0];
    let numbers = numbers.map(i64::to_be_bytes);
    let parts = [&[VERSION, said.scopes.bits()], numbers.as_flattened(), &session];
    parts.concat().try_into().expect("the parts have these lengths")
}

fn decode(user: UserId, body: &[u8; BODY]) -> Option<Said> {
    let ([VERSION, scopes], rest) = body.split_first_chunk::<2>()? else { return None };
    let (numbers, session) = rest.split_first_chunk::<24>()?;
    let mut numbers = numbers
        .chunks_exact(8)
        .map(|eight| i64::from_be_bytes(eight.try_into().expect("a chunk has eight bytes")));
    let generation = Generation { number: numbers.next()?, origin: numbers.next()? };
    let expires_at = Time(numbers.next()?);
    let session = AppSession(session.try_into().ok()?);
    let session = (session.0 != [0; 16]).then_some(session);
    Some(Said { user, scopes: Scopes::from_bits(*scopes)?, generation, session, expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(text: &str) -> BrowserTokens {
        BrowserTokens::new(&Secret::new(text.to_owned()))
    }

    fn said(session: Option<AppSession>) -> Said {
        Said {
            user: UserId::new(7).expect("an id"),
            scopes: Scopes::parse(["messages:read", "messages:write"]).expect("scopes"),
            generation: Generation { number: 3, origin: 1 << 51 },
            session,
            expires_at: Time(1_800_000_000_000_000),
        }
    }

    #[test]
    fn a_token_says_what_was_signed_and_nothing_else_is_read() {
        let keys = keys_of("a key of this server");
        for session in [None, Some(AppSession::named("web-1"))] {
            let said = said(session);
            let token = keys.make(&said);
            let grant = keys.read(&token).expect("it is ours");
            assert_eq!(keys.read(&token), Some(grant), "it is remembered");
            assert_eq!(grant.credential.user, said.user);
            assert_eq!((grant.scopes, grant.session), (said.scopes, said.session));
            assert_eq!(grant.issued, Issued::In(said.generation));
            assert_eq!(grant.expires_at, said.expires_at);
        }
    }

    #[test]
    fn a_token_with_any_other_character_is_not_ours() {
        let keys = keys_of("a key of this server");
        let token = keys.make(&said(Some(AppSession::named("web-1"))));
        // One that is remembered makes no other right.
        assert!(keys.read(&token).is_some());
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(keys.read(&String::from_utf8(other).expect("ASCII")), None, "{at}");
        }
        for other in [token.replace("pru_7.", "pru_8."), token.replace("pru_7.", "pru_07.")] {
            assert_eq!(keys.read(&other), None, "{other}");
        }
        for end in 0..token.len() {
            assert_eq!(keys.read(&token[..end]), None, "{end}");
        }
        assert_eq!(keys_of("a key of another server").read(&token), None);
    }
}
