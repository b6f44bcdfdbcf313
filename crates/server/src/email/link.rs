//! The token in the link that ends reminders: whoever has it can do that, and no more.
//!
//! It is made of the server's key and kept nowhere, it holds as long as the key does, and whose it
//! is cannot be read from it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use mail::UserId;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::config::secret::Secret;

/// Bytes of the signature: 128 bits.
const SIGNATURE: usize = 16;
const ID: usize = 8;

/// Makes and reads tokens.
pub(crate) struct Links {
    sign: Hmac<Sha256>,
    hide: Hmac<Sha256>,
}

impl Links {
    /// With keys of their own, derived from the server's.
    pub(crate) fn new(key: &Secret) -> Self {
        let sign = key.derive(b"postroom unsubscribe token");
        let hide = key.derive(b"postroom unsubscribe token, whose it is");
        Self { sign, hide }
    }

    /// The token of a user, always the same.
    pub(crate) fn token(&self, user: UserId) -> String {
        let mut token = [0; SIGNATURE + ID];
        let signature = self.signature(user);
        token[..SIGNATURE].copy_from_slice(&signature);
        let hidden = user.get() ^ self.mask(&signature);
        token[SIGNATURE..].copy_from_slice(&hidden.to_be_bytes());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Whose token it is, if it is one.
    pub(crate) fn user(&self, token: &str) -> Option<UserId> {
        let mut bytes = [0; SIGNATURE + ID];
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()?;
        let (signature, hidden) = bytes.split_at(SIGNATURE);
        let hidden = i64::from_be_bytes(hidden.try_into().ok()?);
        let user = UserId::new(hidden ^ self.mask(signature))?;
        let good: bool = self.signature(user).ct_eq(signature).into();
        (length == bytes.len() && good).then_some(user)
    }

    fn signature(&self, user: UserId) -> [u8; SIGNATURE] {
        first(&self.sign, &user.get().to_be_bytes())
    }

    fn mask(&self, signature: &[u8]) -> i64 {
        i64::from_be_bytes(first(&self.hide, signature))
    }
}

/// The first bytes of an HMAC.
fn first<const N: usize>(mac: &Hmac<Sha256>, of: &[u8]) -> [u8; N] {
    let mut mac = mac.clone();
    mac.update(of);
    let full = mac.finalize().into_bytes();
    let mut bytes = [0; N];
    bytes.copy_from_slice(&full[..N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(key: &str) -> Links {
        Links::new(&Secret::new(key.to_owned()))
    }

    #[test]
    fn a_token_names_its_user_to_whoever_has_the_key_and_to_nobody_else() {
        let ours = links("the key of the server, as it is made");
        let users = [1, 2, 77, mail::LARGEST_ID].map(|id| UserId::new(id).unwrap());
        for user in users {
            let token = ours.token(user);
            assert_eq!(token.len(), 32);
            assert_eq!(token, ours.token(user));
            assert_eq!(ours.user(&token), Some(user));
            assert_eq!(links("the key of another server").user(&token), None);
        }
    }

    #[test]
    fn a_token_with_one_bit_turned_is_none() {
        let ours = links("the key of the server, as it is made");
        let token = ours.token(UserId::new(5).unwrap());
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut turned = bytes.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ours.user(&URL_SAFE_NO_PAD.encode(turned)), None, "{bit}");
        }
        for other in ["", "a", &token[1..], &format!("{token}A"), &format!("{token}AAAA"), "é"] {
            assert_eq!(ours.user(other), None, "{other}");
        }
    }
}
