//! Extractors for the caller: a handler that takes one of these cannot run without it.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use db::{Of, Purpose, Tx};
use domain::credential::{Credential, CredentialKind};
use domain::tokens::{self, Scopes};
use domain::{UserId, audit};

use super::by::By;
use super::client::Arrival;
use super::code::Code;
use super::list_turns::Line;
use super::unfinished_bodies::Holder;
use super::{Error, acting, bearer, browser_login, client, cookies, list_turns, origin, paths};
use crate::http::App;
use crate::runtime::jwt::Pass;

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

/// A user with a session, or with a token or JWT that has the scope `S`. A request that changes
/// something by a session has the CSRF token as well.
pub(super) struct Caller<S> {
    pub user: UserId,
    pub key: Credential,
    pub scopes: Scopes,
    /// What a browser token or a JWT says, of which nothing is stored.
    pub pass: Option<Pass>,
    /// Whether a page of another site made the request, or, with a cookie, one of another origin.
    pub cross_site: bool,
    /// The call as the audit log names it, where a server key makes it for the user.
    pub acting: Option<Arc<audit::Call>>,
    scope: PhantomData<S>,
}

impl<S> Caller<S> {
    /// Writes what the caller does. Where a server key does it for them, the audit log says so in
    /// the same transaction.
    pub(super) fn write<T: Send + 'static>(
        &self,
        app: &App,
        f: impl FnMut(&mut Tx<'_>) -> domain::Result<T> + Send + 'static,
    ) -> impl Future<Output = domain::Result<T>> + Send {
        self.write_for(app, Purpose::Store, f)
    }

    /// The same for work that may be there to free space.
    pub(super) fn write_for<T: Send + 'static>(
        &self,
        app: &App,
        purpose: Purpose,
        f: impl FnMut(&mut Tx<'_>) -> domain::Result<T> + Send + 'static,
    ) -> impl Future<Output = domain::Result<T>> + Send {
        let f = self.recorded(app, f);
        app.db.of(self.user).write_for(purpose, f)
    }

    /// The same for work that takes long.
    pub(super) fn write_long_for<T: Send + 'static>(
        &self,
        app: &App,
        purpose: Purpose,
        f: impl FnMut(&mut Tx<'_>) -> domain::Result<T> + Send + 'static,
    ) -> impl Future<Output = domain::Result<T>> + Send {
        let f = self.recorded(app, f);
        self.long(app).write_for(purpose, f)
    }

    fn recorded<T, F>(
        &self,
        app: &App,
        mut f: F,
    ) -> impl FnMut(&mut Tx<'_>) -> domain::Result<T> + Send + 'static + use<S, T, F>
    where
        F: FnMut(&mut Tx<'_>) -> domain::Result<T> + Send + 'static,
    {
        let (cx, user, acting) = (app.clock.cx(), self.user, self.acting.clone());
        move |tx| {
            let done = f(tx)?;
            if let Some(call) = &acting {
                audit::record(tx, &cx, call, Some(user))?;
            }
            Ok(done)
        }
    }

    /// The database for work of the caller that takes long. What a server key asks for many users
    /// is the work of that key: together it would keep others waiting as theirs.
    pub(super) fn long<'a>(&self, app: &'a App) -> Of<'a> {
        app.db.of(self.line().owner()).long()
    }

    /// In whose turns that work is done.
    pub(super) fn line(&self) -> Line {
        match &self.acting {
            Some(call) => Line::of_key(call.key.id, self.user),
            None => self.user.into(),
        }
    }

    /// Whether the caller may see what messages say; without that they are told only what they have
    /// said themselves.
    pub(super) fn may_read(&self) -> bool {
        self.scopes.contains(tokens::Scope::Read)
    }

    /// Who makes a request that is replayed when it is sent again.
    pub(super) fn by(&self) -> By<'_> {
        By::User(self.user, self.acting.as_ref())
    }
}

/// A user with a session; tokens do not count.
pub(super) struct InSession {
    pub user: UserId,
}

/// The scope that a call needs, as a type.
pub(super) trait Scope {
    const SCOPE: tokens::Scope;
    /// What a server key that acts for the user may do.
    const BY_KEY: ByKey;
}

/// What a server key may do for a user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ByKey {
    /// Nothing: the call is the user's own.
    Never,
    /// To call. What it changes is in the audit log if the handler writes by [`Caller::write`].
    May,
    /// To call, which reads messages and is in the audit log therefore.
    Reads,
}

/// Declares the scopes as types.
macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident: $scope:ident, $by_key:ident;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl Scope for $name {
            const SCOPE: tokens::Scope = tokens::Scope::$scope;
            const BY_KEY: ByKey = ByKey::$by_key;
        }
    )*};
}

scopes! {
    /// To read messages.
    Read: Read, Reads;
    /// To read what is no message: counts, ids, names.
    Look: Read, May;
    /// To read messages for as long as the user is logged in.
    Listen: Read, Never;
    Write: Write, May;
    /// To change how the account looks and what it takes.
    Settings: Account, May;
    Account: Account, Never;
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
        if bearer::of(&parts.headers)?.is_some_and(|sent| app.server_keys.may_be_one(sent)) {
            return Err(acting::not_by_key());
        }
        check_origin(app, parts)?;
        Ok(Self { session: sessions(&parts.headers).next() })
    }
}

impl<S: Scope> FromRequestParts<App> for Caller<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let sent = bearer::of(&parts.headers)?;
        if let Some(sent) = sent.filter(|sent| app.server_keys.may_be_one(sent)) {
            let caller = Self::by_key(app, parts, sent).await?;
            Arrival::accept(parts, Holder::ActedFor(caller.user));
            return Ok(caller);
        }
        let (key, scopes, pass) = if let Some(token) = sent {
            by_token(app, parts, token, S::SCOPE).await?
        } else {
            let (key, scopes) = by_cookie(app, parts).await?;
            (key, scopes, None)
        };
        acting::refuse(&parts.headers)?;
        acting::confirm(&parts.headers, key.user)?;
        if !scopes.contains(S::SCOPE) {
            return Err(Error::insufficient_scope(S::SCOPE.name()));
        }
        Arrival::accept(parts, Holder::User(key.user));
        if parts.method.is_safe() {
            list_turns::ready(key.user).await;
        }
        // Nobody but the browser itself adds a cookie to the request of another page.
        let cross_site = if key.kind == CredentialKind::Session {
            origin::is_another(&parts.headers, app.public.as_ref())
        } else {
            origin::is_cross_site(&parts.headers)
        };
        let (user, acting) = (key.user, None);
        Ok(Self { user, key, scopes, pass, cross_site, acting, scope: PhantomData })
    }
}

impl<S: Scope> Caller<S> {
    async fn by_key(app: &App, parts: &Parts, sent: &[u8]) -> Result<Self, Error> {
        let (cx, may) = (app.clock.cx(), S::BY_KEY != ByKey::Never);
        let (user, call) = acting::user(app, &cx, parts, sent, may).await?;
        acting::confirm(&parts.headers, user)?;
        if parts.method.is_safe() {
            list_turns::ready(Line::of_key(call.key.id, user)).await;
        }
        if S::BY_KEY == ByKey::Reads {
            app.has_read(&call, user, cx.now)?;
        }
        Ok(Self {
            user,
            key: Credential::of_server_key(user, call.key.id),
            scopes: Scopes::all(),
            pass: None,
            cross_site: false,
            acting: Some(call),
            scope: PhantomData,
        })
    }
}

impl FromRequestParts<App> for InSession {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let (key, _all) = by_cookie(app, parts).await?;
        acting::confirm(&parts.headers, key.user)?;
        Arrival::accept(parts, Holder::User(key.user));
        Ok(Self { user: key.user })
    }
}

type Login = (Credential, Scopes, Option<Pass>);

async fn by_token(
    app: &App,
    parts: &Parts,
    token: &[u8],
    asked: tokens::Scope,
) -> Result<Login, Error> {
    let text = std::str::from_utf8(token).unwrap_or_default();
    if let Some(pass) = browser_login::pass(app, parts, text, asked).await? {
        return Ok((pass.grant.credential, pass.grant.scopes, Some(pass)));
    }
    let invalid = || {
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        let wrong = if acting::is_asked(&parts.headers) {
            "the server key is wrong, revoked or expired"
        } else {
            "the token is wrong, revoked or expired"
        };
        Error::new(Code::Unauthenticated, wrong).header(header::WWW_AUTHENTICATE, challenge)
    };
    let key = Credential::parse_token(text).ok_or_else(invalid)?;
    let by = || client::owner(parts);
    let scopes = app.sessions.scopes(&app.db, &app.clock.cx(), &key, by).await?;
    Ok((key, scopes.ok_or_else(invalid)?, None))
}

async fn by_cookie(app: &App, parts: &Parts) -> Result<(Credential, Scopes), Error> {
    let headers = &parts.headers;
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    if is_read && paths::is_v1(parts.uri.path()) {
        // It changes no letter, but uses up what the user may do: look-ups, streams, processors.
        let public = app.public.as_ref();
        if app.cors.origin(headers).is_none() && origin::is_another(headers, public) {
            return Err(foreign_origin());
        }
    }
    if !is_read {
        check_origin(app, parts)?;
        // Without cookies there is no session to misuse: the answer is that there is none.
        if headers.contains_key(header::COOKIE) {
            check_csrf(app, parts)?;
        }
    }
    let (cx, by) = (app.clock.cx(), || client::owner(parts));
    for session in sessions(headers) {
        if let Some(scopes) = app.sessions.scopes(&app.db, &cx, &session, by).await? {
            return Ok((session, scopes));
        }
    }
    Err(Error::not_logged_in())
}

/// Refuses pages of other sites whose origin is not allowed.
fn check_origin(app: &App, parts: &Parts) -> Result<(), Error> {
    let allowed = paths::has_cors(parts.uri.path()) && app.cors.origin(&parts.headers).is_some();
    if !allowed && origin::is_foreign(&parts.headers, app.public.as_ref()) {
        return Err(foreign_origin());
    }
    Ok(())
}

fn foreign_origin() -> Error {
    Error::new(Code::ForeignOrigin, "the request comes from a page of another origin")
}

fn check_csrf(app: &App, parts: &Parts) -> Result<(), Error> {
    if app.csrf.is_proven(&parts.headers) {
        return Ok(());
    }
    let text = "CSRF: send the token from GET /users/token or GET /v1/csrf in the header \
                X-CSRFToken and in the cookie csrftoken";
    Err(Error::new(Code::Csrf, text))
}

/// How many sessions of one request are looked up.
const SESSIONS: usize = 20;

/// The sessions of the cookies, not checked. What cannot be a session hides none.
pub(super) fn sessions(headers: &HeaderMap) -> impl Iterator<Item = Credential> {
    cookies::values(headers, cookies::SESSION).filter_map(Credential::parse).take(SESSIONS)
}
