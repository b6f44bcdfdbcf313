//! Which page made a request, by the two headers that a page cannot forge.
//!
//! Not `url::Origin`, which accepts more than browsers send: to it `http://evil@host`, `http:host`
//! and `http://host/path` have the origin `http://host`; here they have none.

use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};

use crate::config::origin::Origin;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a page of another site made the request, or one whose `Origin` is another.
///
/// An `Origin` must be that of the `Host`, or the public one. Programs send neither header.
pub(super) fn is_foreign(headers: &HeaderMap, public: Option<&Origin>) -> bool {
    is_cross_site(headers) || has_foreign_origin(headers, public)
}

/// Whether a page of another origin made the request, be it of the same site: an image there has no
/// `Origin`.
pub(super) fn is_another(headers: &HeaderMap, public: Option<&Origin>) -> bool {
    is_from(headers, &[b"cross-site", b"same-site"]) || has_foreign_origin(headers, public)
}

/// Whether the browser says that a page of another site made the request.
pub(super) fn is_cross_site(headers: &HeaderMap) -> bool {
    is_from(headers, &[b"cross-site"])
}

fn is_from(headers: &HeaderMap, sites: &[&[u8]]) -> bool {
    headers.get_all(SEC_FETCH_SITE).iter().any(|site| sites.contains(&site.as_bytes()))
}

fn has_foreign_origin(headers: &HeaderMap, public: Option<&Origin>) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return false };
    let own = |origin: &HeaderValue| {
        let origin = Origin::parse(origin.to_str().ok()?)?;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        // Who is on the line can make pages of the http address of a server that has https.
        let is_on_the_line = public.is_some_and(|public| public.is_secure_form_of(&origin));
        let is_own = host.is_some_and(|host| origin.is_host(host)) && !is_on_the_line;
        Some(public == Some(&origin) || is_own)
    };
    origins.next().is_some() || own(origin) != Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(host: &str, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        headers.insert(ORIGIN, origin.parse().unwrap());
        is_foreign(&headers, Origin::parse("https://mail.example.org").as_ref())
    }

    #[test]
    fn the_host_and_the_public_origin_are_not_foreign() {
        assert!(!foreign("127.0.0.1:8000", "http://127.0.0.1:8000"));
        assert!(!foreign("App.Example", "https://app.example"));
        assert!(!foreign("app.example:443", "https://app.example"));
        assert!(!foreign("[::1]:8000", "http://[::1]:8000"));
        assert!(!foreign("127.0.0.1:8000", "https://mail.example.org"));
    }

    #[test]
    fn the_http_address_of_a_server_that_has_https_is_foreign() {
        assert!(foreign("mail.example.org", "http://mail.example.org"));
        assert!(!foreign("mail.example.org", "https://mail.example.org"));
        assert!(!foreign("mail.internal", "http://mail.internal"));
    }

    #[test]
    fn everything_else_is_foreign() {
        for origin in [
            "null",
            "http://evil.example",
            "http://127.0.0.1:8001",
            "http://127.0.0.1",
            "http://127.0.0.1:8000.evil.example",
            "http://evil@127.0.0.1:8000",
            "http://mail.example.org",
            "file://",
            "http://",
        ] {
            assert!(foreign("127.0.0.1:8000", origin), "{origin}");
        }
    }
}
