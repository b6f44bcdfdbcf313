//! Reading and writing cookies.
//!
//! Not the crate `cookie`, which depends on `time`: a second calendar beside jiff.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

pub(super) const SESSION: &str = "sessionid";
pub(super) const CSRF: &str = "csrftoken";
/// 52 weeks, as in Django.
const CSRF_SECONDS: i64 = 60 * 60 * 24 * 7 * 52;

/// The values of all cookies of a name: Python's `requests` may send one twice, and pages of a
/// sibling domain can add others.
pub(super) fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(COOKIE).iter();
    // Cookies of other applications may hold any bytes, and must not hide these.
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='))
        .filter(move |(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().trim_matches('"'))
}

/// Sets the CSRF token; scripts can read it.
pub(super) fn csrf(token: &str, secure: bool) -> HeaderValue {
    build(&format!("{CSRF}={token}; Max-Age={CSRF_SECONDS}; Path=/; SameSite=Lax"), secure)
}

/// Sets the session; scripts cannot read it.
pub(super) fn session(token: &str, secure: bool) -> HeaderValue {
    let seconds = domain::sessions::ABSOLUTE / domain::Time::SECOND;
    build(&format!("{SESSION}={token}; HttpOnly; Max-Age={seconds}; Path=/; SameSite=Lax"), secure)
}

pub(super) fn no_session(secure: bool) -> HeaderValue {
    build(&format!("{SESSION}=; HttpOnly; Max-Age=0; Path=/; SameSite=Lax"), secure)
}

fn build(cookie: &str, secure: bool) -> HeaderValue {
    let cookie = if secure { format!("{cookie}; Secure") } else { cookie.to_owned() };
    let mut value = HeaderValue::try_from(cookie).expect("tokens are letters, digits, - _ and .");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any byte that a header can hold.
    fn header_byte(byte: u8) -> u8 {
        if byte == 0x7f { b'"' } else { byte }
    }

    proptest! {
        #[test]
        fn cookies_of_others_do_not_hide_ours(
            before in proptest::collection::vec((0x20u8..=0xff).prop_map(header_byte), 0..60),
            after in "[ -~]{0,60}",
        ) {
            prop_assume!(!String::from_utf8_lossy(&before).contains(SESSION));
            let line = [&before[..], b"; sessionid=7.secret; ", after.as_bytes()].concat();
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, HeaderValue::from_bytes(&line).unwrap());
            headers.append(COOKIE, HeaderValue::from_static("csrftoken=other"));
            prop_assert_eq!(values(&headers, SESSION).next(), Some("7.secret"));
            for name in [CSRF, ""] {
                values(&headers, name).for_each(drop);
            }
        }
    }
}
