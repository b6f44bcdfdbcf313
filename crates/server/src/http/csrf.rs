//! CSRF tokens: made by this server, kept by the client in a cookie and sent back in a header.

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use mail::Cx;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::cookies;
use crate::config::secret::Secret;

const HEADER: HeaderName = HeaderName::from_static("x-csrftoken");
/// Random bytes of a token, and the bytes of its signature: 128 bits each.
const NONCE: usize = 16;
const SIGNATURE: usize = 16;

/// Makes and checks tokens. A token belongs to no session, so one from before the login stays
/// good after it.
#[derive(Clone)]
pub struct Csrf {
    mac: Hmac<Sha256>,
}

impl Csrf {
    /// Signs with a key of its own, derived from the server's.
    pub fn new(key: &Secret) -> Self {
        Self { mac: key.derive(b"postroom csrf token") }
    }

    /// The token that the client has, if it is one of ours, else a new one.
    pub fn token(&self, cx: &Cx, headers: &HeaderMap) -> String {
        let kept = cookies::values(headers, cookies::CSRF).find(|token| self.is_ours(token));
        kept.map_or_else(|| self.make(cx.random()), str::to_owned)
    }

    /// The token that goes with a session; it says nothing of the session's secret.
    pub(super) fn of_session(&self, secret: &[u8; 32]) -> String {
        self.make(self.sign(secret))
    }

    fn make(&self, nonce: [u8; NONCE]) -> String {
        let mut token = [0; NONCE + SIGNATURE];
        token[..NONCE].copy_from_slice(&nonce);
        let signature = self.sign(&token[..NONCE]);
        token[NONCE..].copy_from_slice(&signature);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Whether the header repeats a token of ours that a cookie holds.
    pub fn is_proven(&self, headers: &HeaderMap) -> bool {
        let Some(sent) = headers.get(HEADER) else { return false };
        let mut kept = cookies::values(headers, cookies::CSRF);
        let repeated = kept.any(|kept| kept.as_bytes().ct_eq(sent.as_bytes()).into());
        repeated && sent.to_str().is_ok_and(|token| self.is_ours(token))
    }

    fn is_ours(&self, token: &str) -> bool {
        let mut bytes = [0; NONCE + SIGNATURE];
        let Ok(length) = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) else { return false };
        let (nonce, signature) = bytes.split_at(NONCE);
        length == bytes.len() && self.sign(nonce).ct_eq(signature).into()
    }

    fn sign(&self, nonce: &[u8]) -> [u8; SIGNATURE] {
        let mut mac = self.mac.clone();
        mac.update(nonce);
        let full = mac.finalize().into_bytes();
        let mut signature = [0; SIGNATURE];
        signature.copy_from_slice(&full[..SIGNATURE]);
        signature
    }
}
