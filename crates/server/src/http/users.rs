//! `/users`: the CSRF token, registering, logging in and out.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::IntoResponse;
use mail::text::{Email, Password, Username};
use mail::{sessions, users};
use serde::Serialize;

use super::auth::{self, InSession, Visitor};
use super::client::Device;
use super::fields::Input;
use super::{Error, cookies, login};
use crate::http::App;

#[derive(Serialize)]
struct Token {
    #[serde(rename = "csrfToken")]
    csrf_token: String,
}

/// `GET /users/token`
pub(super) async fn token(
    State(app): State<App>,
    headers: HeaderMap,
    device: Device,
) -> impl IntoResponse {
    let csrf_token = app.csrf.token(&app.clock.cx(), &headers);
    let cookie = cookies::csrf(&csrf_token, device.secure);
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
    device: Device,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    login::registration_is_open(&app)?;
    let fields = input.fields()?;
    let name = Username::parse(fields.username.text("username")?)?;
    let email = Email::parse(fields.email.text("email")?)?;
    let password = Password::parse(fields.password.text("password")?, &name, email.as_str())?;

    let cx = app.clock.cx();
    let hash = login::hash(&app, &cx, password).await?;
    let limit = login::registrations(&app, &device);
    let made = app.db.write(move |tx| {
        limit.count(tx, &cx)?;
        users::create(tx, &cx, &name, None, &email, &hash)
    });
    let id = made.await?;
    tracing::info!(user = id.get(), "registered");
    Ok(Done::user(id))
}

/// `POST /users/login`
pub(super) async fn login(
    State(app): State<App>,
    visitor: Visitor,
    device: Device,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    let fields = input.fields()?;
    let name = fields.username.text("username")?;
    let password = fields.password.text("password")?.to_owned();
    let cx = app.clock.cx();
    let attempt = login::begin(&app, &cx, name, &device).await?;
    let credentials = attempt.check(&app, password).await?;

    let (user, replaced, secret) = (credentials.user, visitor.session, cx.random());
    let (client, forgiven) = (device.client(), attempt.clone());
    let started = app.db.write(move |tx| {
        let token = sessions::start(tx, &cx, &credentials, &secret, &client, replaced.as_ref())?;
        forgiven.forgive(tx)?;
        Ok::<_, mail::Error>(token)
    });
    let token = started.await?;
    if let Some(replaced) = replaced {
        app.sessions.forget(&replaced);
    }
    attempt.succeeded(&app, user);
    let cookie = cookies::session(&token, device.secure);
    Ok(([(SET_COOKIE, cookie)], Done::user(user)))
}

/// `POST /users/logout`
pub(super) async fn logout(
    State(app): State<App>,
    headers: HeaderMap,
    device: Device,
    caller: InSession,
) -> Result<impl IntoResponse, Error> {
    // All that the client sends: it must not stay logged in by another one.
    let ended: Vec<_> = auth::sessions(&headers).collect();
    let end = ended.clone();
    app.db.write(move |tx| end.iter().try_for_each(|session| sessions::end(tx, session))).await?;
    for session in &ended {
        app.sessions.forget(session);
    }
    tracing::info!(user = caller.user.get(), "logged out");
    let cookie = cookies::no_session(device.secure);
    Ok(([(SET_COOKIE, cookie)], Json(Done { status: "success", user_id: None })))
}
