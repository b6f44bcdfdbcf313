//! CSRF tokens: signed by this server, kept in a cookie, and sent back in a header.

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Cx;
use hmac::Hmac;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::cookies;
use crate::config::secret::{self, Secret};

const HEADER: HeaderName = HeaderName::from_static("x-csrftoken");
/// Bytes of the nonce and of the signature: 128 bits each.
const HALF: usize = 16;

/// Makes and checks tokens. A token belongs to no session, so it stays valid after a sign-in.
pub(crate) struct Csrf {
    key: Hmac<Sha256>,
}

impl Csrf {
    pub(crate) fn new(key: &Secret) -> Self {
        Self { key: key.derive(b"postroom csrf token") }
    }

    /// The client's token if it is valid, else a new one.
    pub(super) fn token(&self, cx: &Cx, headers: &HeaderMap) -> String {
        let kept = cookies::values(headers, cookies::CSRF).find(|token| self.is_ours(token));
        kept.map_or_else(|| self.make(cx.random()), str::to_owned)
    }

    /// The token for a session; it reveals nothing about the session's secret.
    pub(super) fn of_session(&self, secret: &[u8; 32]) -> String {
        self.make(self.sign(secret))
    }

    fn make(&self, nonce: [u8; HALF]) -> String {
        URL_SAFE_NO_PAD.encode([nonce, self.sign(&nonce)].as_flattened())
    }

    /// Whether the header repeats a valid token of a cookie.
    pub(super) fn is_proven(&self, headers: &HeaderMap) -> bool {
        let Some(sent) = headers.get(HEADER) else { return false };
        let mut kept = cookies::values(headers, cookies::CSRF);
        let repeated = kept.any(|kept| kept.as_bytes().ct_eq(sent.as_bytes()).into());
        repeated && sent.to_str().is_ok_and(|token| self.is_ours(token))
    }

    fn is_ours(&self, token: &str) -> bool {
        let mut bytes = [0; 2 * HALF];
        let Ok(length) = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) else { return false };
        let (nonce, signature) = bytes.split_at(HALF);
        length == bytes.len() && self.sign(nonce).ct_eq(signature).into()
    }

    fn sign(&self, nonce: &[u8]) -> [u8; HALF] {
        secret::sign(&self.key, nonce)
    }
}
