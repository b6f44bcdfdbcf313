//! The token in the link that ends reminders; it allows that and nothing else.
//!
//! It is computed from the server's key and stored nowhere. It is valid as long as the key is, and
//! does not show whose it is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::UserId;
use hmac::Hmac;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::config::secret::{self, Secret};

/// Bytes of the signature: 128 bits.
const SIGNATURE: usize = 16;
const ID: usize = 8;

/// Makes and reads tokens.
pub(crate) struct Links {
    sign: Hmac<Sha256>,
    hide: Hmac<Sha256>,
}

impl Links {
    pub(crate) fn new(key: &Secret) -> Self {
        let sign = key.derive(b"postroom unsubscribe token");
        let hide = key.derive(b"postroom unsubscribe token, whose it is");
        Self { sign, hide }
    }

    /// The token of a user, always the same.
    pub(crate) fn token(&self, user: UserId) -> String {
        let signature = self.signature(user);
        let hidden = user.get() ^ self.mask(&signature);
        URL_SAFE_NO_PAD.encode([&signature[..], &hidden.to_be_bytes()].concat())
    }

    /// The user of a token, if it is valid.
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
        secret::sign(&self.sign, &user.get().to_be_bytes())
    }

    fn mask(&self, signature: &[u8]) -> i64 {
        i64::from_be_bytes(secret::sign(&self.hide, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(key: &str) -> Links {
        Links::new(&Secret::new(key.to_owned()))
    }

    #[test]
    fn a_token_names_its_user_only_to_the_server_with_the_key() {
        let ours = links("the key of the server, as it is made");
        let users = [1, 2, 77, domain::LARGEST_ID].map(|id| UserId::new(id).unwrap());
        for user in users {
            let token = ours.token(user);
            assert_eq!(token.len(), 32);
            assert_eq!(token, ours.token(user));
            assert_eq!(ours.user(&token), Some(user));
            assert_eq!(links("the key of another server").user(&token), None);
        }
    }

    #[test]
    fn a_token_with_one_bit_flipped_is_invalid() {
        let ours = links("the key of the server, as it is made");
        let token = ours.token(UserId::new(5).unwrap());
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ours.user(&URL_SAFE_NO_PAD.encode(flipped)), None, "{bit}");
        }
        for other in ["", "a", &token[1..], &format!("{token}A"), &format!("{token}AAAA"), "é"] {
            assert_eq!(ours.user(other), None, "{other}");
        }
    }
}
