//! `/users`: the CSRF token, registering, logging in and out.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::IntoResponse;
use mail::text::{self, Email, Password, Username};
use mail::throttle::{self, Attempt};
use mail::users::Credentials;
use mail::{Cx, passwords, sessions, users};
use serde::Serialize;

use super::auth::{self, Caller, Visitor};
use super::fields::Input;
use super::{Error, Peer, cookies};
use crate::App;
use crate::config::{Registration, Switch};

#[derive(Serialize)]
struct Token {
    #[serde(rename = "csrfToken")]
    csrf_token: String,
}

/// `GET /users/token`
pub(super) async fn token(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let csrf_token = app.csrf.token(&app.clock.cx(), &headers);
    let cookie = cookies::csrf(&csrf_token, app.is_secure(peer, &headers));
    ([(SET_COOKIE, cookie)], Json(Token { csrf_token }))
}

#[derive(Serialize)]
struct Done {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<i64>,
}

impl Done {
    fn user(id: mail::UserId) -> Json<Self> {
        Json(Self { status: "success", user_id: Some(id.get()) })
    }
}

/// `POST /users/register`
pub(super) async fn register(
    State(app): State<App>,
    _visitor: Visitor,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    if app.settings.registration == Registration::Closed {
        return Err(Error::registration_closed());
    }
    let fields = input.fields()?;
    let name = Username::parse(fields.username.text("username")?)?;
    let email = Email::parse(fields.email.text("email")?)?;
    let password = Password::parse(fields.password.text("password")?, &name, email.as_str())?;

    let cx = app.clock.cx();
    let salt = cx.random();
    let hash = app.passwords.run(move || passwords::hash(&password, salt)).await?;
    let id = app.db.write(move |tx| users::create(tx, &cx, &name, &email, &hash)).await?;
    tracing::info!(user = id.get(), "registered");
    Ok(Done::user(id))
}

/// `POST /users/login`
pub(super) async fn login(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    visitor: Visitor,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    let fields = input.fields()?;
    let name = login_name(fields.username.text("username")?);
    let password = fields.password.text("password")?.to_owned();
    let cx = app.clock.cx();
    let client = peer.client(&headers, &app.settings.trusted_proxies);
    let attempt = count_attempt(&app, &cx, &name, client).await?;

    let Some(credentials) = authenticate(&app, &name, password).await? else {
        app.metrics.logins.refused.inc();
        tracing::info!(%client, "login refused");
        return Err(mail::Error::AuthenticationFailed.into());
    };
    let (user, replaced, secret) = (credentials.user, visitor.session, cx.random());
    let started = app.db.write(move |tx| {
        let token = sessions::start(tx, &cx, &credentials, &secret, replaced.as_ref())?;
        attempt.map_or(Ok(()), |attempt| throttle::forgive(tx, &attempt))?;
        Ok::<_, mail::Error>(token)
    });
    let token = started.await?;
    if let Some(replaced) = replaced {
        app.sessions.forget(&replaced);
    }
    app.metrics.logins.accepted.inc();
    tracing::info!(%client, user = user.get(), "logged in");
    let cookie = cookies::session(&token, app.is_secure(peer, &headers));
    Ok(([(SET_COOKIE, cookie)], Done::user(user)))
}

/// The name as it is compared. One that nobody can have is still counted, at bounded length.
fn login_name(name: &str) -> String {
    let start: String = name.chars().take(text::USERNAME_CHARS + 1).collect();
    Username::parse(&start).map_or_else(|_| text::fold(&start), |name| name.folded().to_owned())
}

/// Counts the attempt before the password is looked at, where attempts are limited.
async fn count_attempt(
    app: &App,
    cx: &Cx,
    name: &str,
    client: IpAddr,
) -> Result<Option<Attempt>, Error> {
    if app.settings.rate_limits == Switch::Off {
        return Ok(None);
    }
    // The address tells nothing where all clients are programs of this machine.
    let address = Some(client).filter(|address| !address.is_loopback());
    let (cx, attempt) = (*cx, Attempt::new(name, address));
    let counted = app.db.write(move |tx| throttle::count(tx, &cx, &attempt)).await;
    if let Err(mail::Error::Throttled { .. }) = &counted {
        app.metrics.logins.throttled.inc();
        tracing::info!(%client, "login held up after too many failures");
    }
    counted?;
    Ok(Some(attempt))
}

/// Whose name and password these are. An unknown name costs the same work as a known one.
async fn authenticate(
    app: &App,
    name: &str,
    password: String,
) -> Result<Option<Credentials>, Error> {
    let known = app.db.read(|tx| users::credentials(tx, name)).await?;
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    let fits = app.passwords.run(move || passwords::verify(password.as_bytes(), hash.as_deref()));
    let fits = fits.await?;
    Ok(known.filter(|_| fits))
}

/// `POST /users/logout`
pub(super) async fn logout(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    caller: Caller,
) -> Result<impl IntoResponse, Error> {
    // All that the client sends: it must not stay logged in by another one.
    let ended: Vec<_> = auth::sessions(&headers).collect();
    let end = ended.clone();
    app.db.write(move |tx| end.iter().try_for_each(|session| sessions::end(tx, session))).await?;
    for session in &ended {
        app.sessions.forget(session);
    }
    tracing::info!(user = caller.user.get(), "logged out");
    let cookie = cookies::no_session(app.is_secure(peer, &headers));
    Ok(([(SET_COOKIE, cookie)], Json(Done { status: "success", user_id: None })))
}
