//! Extractors for calls of the app's own server: a handler that takes one cannot run without a
//! server key.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use domain::server_keys::{KeyScope, ServerKey};
use domain::{Cx, audit};

use super::client::{self, Arrival};
use super::code::Code;
use super::unfinished_bodies::Holder;
use super::{Error, bearer};
use crate::http::App;

/// The app's own server, with a key that has the scope `S`.
pub(super) struct ServerCaller<S> {
    pub key: Arc<ServerKey>,
    /// This call, for the audit log: [`audit::record`] belongs into the transaction of each change.
    pub call: Arc<audit::Call>,
    scope: PhantomData<S>,
}

/// The scope that a call needs, as a type; `None` where any key may make it.
pub(super) trait ServerScope {
    const SCOPE: Option<KeyScope>;
}

/// Declares the scopes as types.
macro_rules! scopes {
    ($($name:ident: $scope:expr;)*) => {$(
        pub(super) struct $name;

        impl ServerScope for $name {
            const SCOPE: Option<KeyScope> = $scope;
        }
    )*};
}

scopes! {
    AnyKey: None;
    Users: Some(KeyScope::Users);
    Tokens: Some(KeyScope::Tokens);
    Unread: Some(KeyScope::Unread);
    System: Some(KeyScope::System);
    Export: Some(KeyScope::Export);
}

impl<S: ServerScope> FromRequestParts<App> for ServerCaller<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Some(sent) = bearer::of(&parts.headers)? else {
            return Err(Error::new(Code::Unauthenticated, "send a server key"));
        };
        let call = authenticate(app, &app.clock.cx(), parts, sent).await?;
        if let Some(scope) = S::SCOPE {
            check_scope(&call.key, scope)?;
        }
        Arrival::accept(parts, Holder::Key);
        Ok(Self { key: Arc::clone(&call.key), call: Arc::new(call), scope: PhantomData })
    }
}

/// The request of a server key, for the audit log.
pub(super) async fn authenticate(
    app: &App,
    cx: &Cx,
    parts: &Parts,
    sent: &[u8],
) -> Result<audit::Call, Error> {
    // A page that has a key shows it to everybody who looks.
    if parts.headers.contains_key(header::ORIGIN) {
        let detail = "a server key belongs on a server, never into a page: give the page a \
                      browser token, and replace this key, with `postroom key rotate` or in the \
                      configuration";
        return Err(Error::new(Code::ServerKeyInBrowser, detail));
    }
    let by = || client::owner(parts);
    let key = app.server_keys.find(&app.0.last_key, &app.db, cx, sent, by).await?;
    let key = key.ok_or_else(|| {
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        Error::new(Code::Unauthenticated, "the server key is wrong, revoked or expired")
            .header(header::WWW_AUTHENTICATE, challenge)
    })?;
    let Arrival { id, route, .. } = Arrival::of(parts);
    let method = match &parts.method {
        &Method::GET => "GET".into(),
        other => other.to_string().into(),
    };
    Ok(audit::Call { key, method, route, request_id: id.digits() })
}

/// Makes sure that a key has a scope.
pub(super) fn check_scope(key: &ServerKey, scope: KeyScope) -> Result<(), Error> {
    if key.scopes.contains(scope) {
        return Ok(());
    }
    Err(Error::needs_scope(Code::MissingScope, "the server key", scope.name()))
}
