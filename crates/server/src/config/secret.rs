//! Values that must not appear in logs and errors.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

/// Text whose `Debug` output hides it.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// A separate key for each purpose, so that signatures of one cannot be used for another.
    pub(crate) fn derive(&self, purpose: &[u8]) -> Hmac<Sha256> {
        let mut derived = hmac(self.0.as_bytes());
        derived.update(purpose);
        hmac(&derived.finalize().into_bytes())
    }
}

/// The first `N` bytes of a message's signature, at most 32.
pub(crate) fn sign<const N: usize>(key: &Hmac<Sha256>, message: &[u8]) -> [u8; N] {
    let mut mac = key.clone();
    mac.update(message);
    let signature = mac.finalize().into_bytes();
    std::array::from_fn(|at| signature[at])
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
