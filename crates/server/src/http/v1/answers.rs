//! What all requests that may be sent again share.

use std::collections::HashSet;
use std::sync::Mutex;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::config::secret::Secret;

/// What is needed to keep answers: a key, and the requests that run.
pub(crate) struct Answers {
    mac: Hmac<Sha256>,
    pub(super) running: Mutex<HashSet<[u8; 32]>>,
}

impl Answers {
    /// With a key of its own, derived from the server's.
    pub(crate) fn new(key: &Secret) -> Self {
        Self { mac: key.derive(b"postroom kept answers"), running: Mutex::default() }
    }

    pub(super) fn sign(&self, purpose: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(purpose);
        for part in parts {
            // The length in front, so that no two lists are the same bytes.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}
