//! Extractors for the caller: a handler that takes one of these cannot run without it.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use domain::UserId;
use domain::credential::Credential;
use domain::tokens::{self, Scopes};

use super::code::Code;
use super::{Error, cookies, cors, origin};
use crate::http::App;

/// Anyone with a CSRF token, from a page of this site: signs in or registers.
pub(super) struct Visitor {
    /// The session of the client's cookie, not checked.
    pub session: Option<Credential>,
}

/// Anyone, from a page of this site or of an allowed origin: a call of /v1 without a credential.
pub(super) struct Stranger {
    /// The session of the client's cookie, not checked.
    pub session: Option<Credential>,
}

/// A user with a session, or with a token that has the scope `S`. A request that changes something
/// by a session has the CSRF token as well.
pub(super) struct Caller<S> {
    pub user: UserId,
    pub key: Credential,
    pub scopes: Scopes,
    /// Whether a page of another site made the request.
    pub cross_site: bool,
    scope: PhantomData<S>,
}

/// A user with a session; tokens do not count.
pub(super) struct InSession {
    pub user: UserId,
}

/// The scope that a call needs, as a type.
pub(super) trait Scope {
    const SCOPE: tokens::Scope;
}

pub(super) struct Read;
pub(super) struct Write;
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
        check_origin(app, parts)?;
        check_csrf(app, parts)?;
        Ok(Self { session: sessions(&parts.headers).next() })
    }
}

impl FromRequestParts<App> for Stranger {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        check_origin(app, parts)?;
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

/// The token of the request. No browser sends it by itself, so it needs no CSRF token.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

async fn by_token(app: &App, token: &[u8]) -> Result<(Credential, Scopes), Error> {
    let invalid = || {
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        Error::new(Code::Unauthenticated, "the token is wrong, revoked or expired")
            .header(header::WWW_AUTHENTICATE, challenge)
    };
    let key = std::str::from_utf8(token).ok().and_then(Credential::parse_token);
    let key = key.ok_or_else(invalid)?;
    let scopes = app.sessions.scopes(&app.db, &app.clock.cx(), &key).await?;
    Ok((key, scopes.ok_or_else(invalid)?))
}

async fn by_cookie(app: &App, parts: &Parts) -> Result<(Credential, Scopes), Error> {
    let headers = &parts.headers;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        check_origin(app, parts)?;
        // Without cookies there is no session to misuse: the answer is that there is none.
        if headers.contains_key(header::COOKIE) {
            check_csrf(app, parts)?;
        }
    }
    let cx = app.clock.cx();
    for session in sessions(headers) {
        if let Some(scopes) = app.sessions.scopes(&app.db, &cx, &session).await? {
            return Ok((session, scopes));
        }
    }
    Err(Error::not_logged_in())
}

/// Refuses pages of other sites whose origin is not allowed.
fn check_origin(app: &App, parts: &Parts) -> Result<(), Error> {
    let allowed = cors::covers(parts.uri.path()) && app.cors.origin(&parts.headers).is_some();
    if !allowed && origin::is_foreign(&parts.headers, app.public.as_ref()) {
        return Err(Error::new(Code::ForeignOrigin, "the request comes from another site"));
    }
    Ok(())
}

fn check_csrf(app: &App, parts: &Parts) -> Result<(), Error> {
    if app.csrf.is_proven(&parts.headers) {
        return Ok(());
    }
    let text = "CSRF: send the token from GET /users/token or GET /v1/csrf in the header \
                X-CSRFToken and in the cookie csrftoken";
    Err(Error::new(Code::Csrf, text))
}

/// The sessions of the cookies, not checked.
pub(super) fn sessions(headers: &HeaderMap) -> impl Iterator<Item = Credential> {
    cookies::values(headers, cookies::SESSION).filter_map(Credential::parse)
}
