//! Signatures as in Standard Webhooks: HMAC-SHA256 of id, time and body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Time;
use domain::webhooks::Endpoint;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::secret::Secret;

/// Derives the endpoints' secrets from the server's key, so that none is stored.
#[derive(Clone)]
pub(crate) struct Secrets {
    mac: Hmac<Sha256>,
    /// How long the previous secret signs as well after a rotation, in microseconds.
    overlap: i64,
}

impl Secrets {
    pub(crate) fn new(key: &Secret, overlap_hours: u32) -> Self {
        let overlap = i64::from(overlap_hours) * Time::HOUR;
        Self { mac: key.derive(b"postroom webhooks"), overlap }
    }

    fn secret(&self, endpoint: &Endpoint, version: i64) -> [u8; 32] {
        // With the time, because the id may be given again after a restore.
        let parts = [endpoint.id.get(), endpoint.created_at.0, version];
        let mut mac = self.mac.clone();
        for part in parts {
            mac.update(&part.to_be_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    /// An endpoint's newest secret, in the form that its owner configures.
    pub(crate) fn shown(&self, endpoint: &Endpoint) -> String {
        format!("whsec_{}", STANDARD.encode(self.secret(endpoint, endpoint.secret_version)))
    }

    /// When the previous secret stops signing.
    pub(crate) fn overlaps_until(&self, endpoint: &Endpoint) -> Option<Time> {
        endpoint.rotated_at.map(|since| since.plus(self.overlap))
    }

    /// The header `webhook-signature`: one signature for each valid secret, the newest first.
    pub(super) fn sign(&self, endpoint: &Endpoint, now: Time, id: &str, body: &str) -> String {
        let content = format!("{id}.{}.{body}", seconds(now));
        let signature = |version| {
            let key = self.secret(endpoint, version);
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
            mac.update(content.as_bytes());
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        endpoint.signing(now, self.overlap).map(signature).collect::<Vec<_>>().join(" ")
    }
}

/// The header `webhook-timestamp`.
pub(super) fn seconds(now: Time) -> i64 {
    now.0.div_euclid(Time::SECOND)
}
