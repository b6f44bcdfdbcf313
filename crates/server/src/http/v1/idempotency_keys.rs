//! What a node keeps for idempotency keys: the key that signs them, and which are in flight.

use std::collections::HashSet;
use std::sync::Mutex;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::config::secret::Secret;

pub(crate) struct Idempotency {
    mac: Hmac<Sha256>,
    /// The signed keys of requests that run on this node, so that a retry cannot run beside them.
    pub(super) in_flight: Mutex<HashSet<[u8; 32]>>,
}

impl Idempotency {
    /// Signs with a key derived from the server's.
    pub(crate) fn new(key: &Secret) -> Self {
        Self { mac: key.derive(b"postroom kept answers"), in_flight: Mutex::default() }
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
