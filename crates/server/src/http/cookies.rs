//! Cookies, read and written.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

/// The session.
pub(super) const SESSION: &str = "sessionid";
/// The CSRF token.
pub(super) const CSRF: &str = "csrftoken";
/// As long as Django keeps its CSRF cookie: a year less a day.
const CSRF_SECONDS: i64 = 60 * 60 * 24 * 7 * 52;
/// Cookies of one name that are looked at; Python's `requests` may send one twice.
const SAME_NAME: usize = 4;

/// The values of the cookie of that name.
pub(super) fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(COOKIE).iter();
    // A cookie of somebody else may hold anything, and must not hide ours.
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='))
        .filter(move |(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().trim_matches('"'))
        .take(SAME_NAME)
}

/// Keeps the CSRF token where scripts can read it.
pub(super) fn csrf(token: &str, secure: bool) -> HeaderValue {
    build(&format!("{CSRF}={token}; Max-Age={CSRF_SECONDS}; Path=/; SameSite=Lax"), secure)
}

/// Keeps the session where scripts cannot read it.
pub(super) fn session(token: &str, secure: bool) -> HeaderValue {
    let seconds = mail::sessions::ABSOLUTE / mail::Time::SECOND;
    build(&format!("{SESSION}={token}; HttpOnly; Max-Age={seconds}; Path=/; SameSite=Lax"), secure)
}

/// Removes the session.
pub(super) fn no_session(secure: bool) -> HeaderValue {
    build(&format!("{SESSION}=; HttpOnly; Max-Age=0; Path=/; SameSite=Lax"), secure)
}

fn build(cookie: &str, secure: bool) -> HeaderValue {
    let cookie = if secure { format!("{cookie}; Secure") } else { cookie.to_owned() };
    let mut value = HeaderValue::try_from(cookie).expect("tokens are letters, digits, - _ and .");
    value.set_sensitive(true);
    value
}
