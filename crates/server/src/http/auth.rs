//! Who calls: a handler that names one of these cannot run without it.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use mail::UserId;
use mail::key::Key;
use mail::tokens::{self, Scopes};

use super::{Error, cookies, cors, origin};
use crate::http::App;

/// Anybody, from a page of ours: what may be done without a login. It has the CSRF token.
pub(super) struct Visitor {
    /// The sessions that the client's cookies name; they need not hold.
    pub session: Option<Key>,
}

/// Anybody, from a page of ours or of an origin that is let in: a call of /v1 without a login.
pub(super) struct Stranger {
    /// The session that the client's cookies name; it need not hold.
    pub session: Option<Key>,
}

/// A user who is logged in by a session, or by a token that allows what `S` says. Where something
/// changes and a cookie logs him in, the CSRF token is there as well.
pub(super) struct Caller<S> {
    /// Who it is.
    pub user: UserId,
    /// The session or the token.
    pub key: Key,
    /// All that it allows.
    pub scopes: Scopes,
    /// Whether a page of another site caused the request.
    pub cross_site: bool,
    scope: PhantomData<S>,
}

/// A user who is logged in by a session.
pub(super) struct InSession {
    /// Who it is.
    pub user: UserId,
}

/// What a token must allow.
pub(super) trait Scope {
    /// Which scope it is.
    const SCOPE: tokens::Scope;
}

/// To read messages.
pub(super) struct Read;
/// To write messages, and to change the state of those that are there.
pub(super) struct Write;
/// To change the account.
pub(super) struct Account;

impl Scope for Read {
    const SCOPE: tokens::Scope = tokens::Scope::Read;
}

impl Scope for Write {
    const SCOPE: tokens::Scope = tokens::Scope::Write;
}

impl Scope for Account {
    const SCOPE: tokens::Scope = tokens::Scope::Account;
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        prove(app, parts)?;
        Ok(Self { session: sessions(&parts.headers).next() })
    }
}

impl FromRequestParts<App> for Stranger {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        if is_foreign(app, parts) {
            return Err(Error::foreign());
        }
        Ok(Self { session: sessions(&parts.headers).next() })
    }
}

impl<S: Scope> FromRequestParts<App> for Caller<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let (key, scopes) = match bearer(&parts.headers) {
            Some(token) => by_token(app, token).await?,
            None => by_cookie(app, parts).await?,
        };
        if !scopes.contains(S::SCOPE) {
            return Err(Error::insufficient_scope(S::SCOPE.name()));
        }
        let cross_site = origin::is_cross_site(&parts.headers);
        Ok(Self { user: key.user, key, scopes, cross_site, scope: PhantomData })
    }
}

impl FromRequestParts<App> for InSession {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let (key, _all) = by_cookie(app, parts).await?;
        Ok(Self { user: key.user })
    }
}

/// The token of a program: no browser sends it by itself, so it needs no further proof.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

async fn by_token(app: &App, token: &[u8]) -> Result<(Key, Scopes), Error> {
    let key = std::str::from_utf8(token).ok().and_then(Key::parse_token);
    let key = key.ok_or_else(Error::bad_token)?;
    let scopes = app.sessions.scopes(&app.db, &app.clock.cx(), &key).await?;
    Ok((key, scopes.ok_or_else(Error::bad_token)?))
}

async fn by_cookie(app: &App, parts: &Parts) -> Result<(Key, Scopes), Error> {
    let headers = &parts.headers;
    // Without any cookie there is nothing that a foreign page could misuse: only no login.
    if !matches!(parts.method, Method::GET | Method::HEAD)
        && (headers.contains_key(header::COOKIE) || is_foreign(app, parts))
    {
        prove(app, parts)?;
    }
    let cx = app.clock.cx();
    for session in sessions(headers) {
        if let Some(scopes) = app.sessions.scopes(&app.db, &cx, &session).await? {
            return Ok((session, scopes));
        }
    }
    Err(Error::not_logged_in())
}

fn prove(app: &App, parts: &Parts) -> Result<(), Error> {
    if is_foreign(app, parts) {
        return Err(Error::foreign());
    }
    if !app.csrf.is_proven(&parts.headers) {
        return Err(Error::no_csrf_token());
    }
    Ok(())
}

/// Whether a page of somebody else made the request, and of none that is let in.
fn is_foreign(app: &App, parts: &Parts) -> bool {
    let let_in = cors::covers(parts.uri.path()) && app.cors.lets_in(&parts.headers);
    !let_in && origin::is_foreign(&parts.headers, app.origin())
}

/// The sessions that the cookies name; they need not hold.
pub(super) fn sessions(headers: &HeaderMap) -> impl Iterator<Item = Key> {
    cookies::values(headers, cookies::SESSION).filter_map(Key::parse)
}
