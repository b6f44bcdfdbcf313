//! Who calls: a handler that names one of these cannot run without it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use mail::UserId;
use mail::sessions::Key;

use super::{Error, cookies, origin};
use crate::App;

/// Anybody, from a page of ours: what may be done without a login. It has the CSRF token.
pub(super) struct Visitor {
    /// The sessions that the client's cookies name; they need not hold.
    pub session: Option<Key>,
}

/// A user who is logged in. Where something changes, the CSRF token is there as well.
pub(super) struct Caller {
    /// Who it is.
    pub user: UserId,
    /// Whether a page of another site caused the request.
    pub cross_site: bool,
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        prove(app, &parts.headers)?;
        Ok(Self { session: sessions(&parts.headers).next() })
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let headers = &parts.headers;
        // Without any cookie there is nothing that a foreign page could misuse: only no login.
        if parts.method != Method::GET
            && (headers.contains_key(header::COOKIE) || origin::is_foreign(headers, app.origin()))
        {
            prove(app, headers)?;
        }
        let cx = app.clock.cx();
        for session in sessions(headers) {
            if let Some(user) = app.sessions.user(&app.db, &cx, &session).await? {
                return Ok(Self { user, cross_site: origin::is_cross_site(headers) });
            }
        }
        Err(Error::not_logged_in())
    }
}

fn prove(app: &App, headers: &HeaderMap) -> Result<(), Error> {
    if origin::is_foreign(headers, app.origin()) {
        return Err(Error::foreign());
    }
    if !app.csrf.is_proven(headers) {
        return Err(Error::no_csrf_token());
    }
    Ok(())
}

/// The sessions that the cookies name; they need not hold.
pub(super) fn sessions(headers: &HeaderMap) -> impl Iterator<Item = Key> {
    cookies::values(headers, cookies::SESSION).filter_map(Key::parse)
}
