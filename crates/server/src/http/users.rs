//! `/users` of the classic API: the CSRF token, registration, login and logout.

use crate::http::json::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::IntoResponse;
use db::{Purpose, Tx};
use domain::passwords::Password;
use domain::text::{Email, Username};
use domain::{UserId, sessions, users};
use serde_json::{Value, json};

use super::auth::{self, InSession, Visitor};
use super::classic_body::Input;
use super::client::Device;
use super::login::{self, Claimant};
use super::{Error, cookies};
use crate::http::App;

/// `GET /users/token`
pub(super) async fn token(
    State(app): State<App>,
    headers: HeaderMap,
    device: Device,
) -> impl IntoResponse {
    let token = app.csrf.token(&app.clock.cx(), &headers);
    let cookie = cookies::csrf(&token, device.secure);
    ([(SET_COOKIE, cookie)], Json(json!({ "csrfToken": token })))
}

fn success(user: UserId) -> Json<Value> {
    Json(json!({ "status": "success", "user_id": user.get() }))
}

/// `POST /users/register`
pub(super) async fn register(
    State(app): State<App>,
    _visitor: Visitor,
    device: Device,
    input: Input,
) -> Result<impl IntoResponse, Error> {
    login::registration_is_open(&app)?;
    let cx = app.clock.cx();
    let (name, email, password) = match new_account(&input) {
        Ok(account) => account,
        Err(refusal) => return login::refuse_registration(&app, &device, refusal).await,
    };
    let names = (name.clone(), None);
    let hash = login::hash_to_register(&app, &cx, &device, names, password).await?;
    let limit = login::registrations(&app, &device);
    let made = app.db.of(device.address).write(move |tx| {
        limit.count(tx, &cx)?;
        users::create(tx, &cx, &name, None, &email, &hash)
    });
    let id = made.await?;
    tracing::info!(client = %device.address, user = id.get(), "registered");
    Ok(success(id))
}

fn new_account(input: &Input) -> Result<(Username, Email, Password), Error> {
    let fields = input.fields()?;
    let name = Username::parse(&fields.username.text("username")?)?;
    let email = Email::parse(&fields.email.text("email")?)?;
    let password = Password::parse(&fields.password.text("password")?, &name, email.as_str())?;
    Ok((name, email, password))
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
    let password = fields.password.text("password")?;
    let cx = app.clock.cx();
    let claimant = Claimant::named(&name);
    let (credentials, attempt) = login::check(&app, &cx, claimant, &device, password).await?;

    let (user, replaced, secret) = (credentials.user, visitor.session, cx.random());
    let (client, right) = (device.client(), attempt.clone());
    let started = app.db.of(user).write(move |tx| {
        let token = sessions::start(tx, &cx, &credentials, &secret, &client, replaced.as_ref())?;
        right.let_in(tx, &cx)?;
        Ok::<_, domain::Error>(token)
    });
    let started = started.await.map_err(Error::from);
    let token = attempt.settle(&app, started).await?;
    if let Some(replaced) = replaced {
        app.sessions.forget(&replaced);
    }
    attempt.succeeded(&app);
    let cookie = cookies::session(&token, device.secure);
    Ok(([(SET_COOKIE, cookie)], success(user)))
}

/// `POST /users/logout`
pub(super) async fn logout(
    State(app): State<App>,
    headers: HeaderMap,
    device: Device,
    caller: InSession,
) -> Result<impl IntoResponse, Error> {
    // All sessions that the client sends, so that it does not stay logged in by another one.
    let ended: Vec<_> = auth::sessions(&headers).collect();
    let end = ended.clone();
    let end = move |tx: &mut Tx<'_>| end.iter().try_for_each(|session| sessions::end(tx, session));
    app.db.of(caller.user).write_for(Purpose::Free, end).await?;
    for session in &ended {
        app.sessions.forget(session);
    }
    tracing::info!(client = %device.address, user = caller.user.get(), "logged out");
    let cookie = cookies::no_session(device.secure);
    Ok(([(SET_COOKIE, cookie)], Json(json!({ "status": "success" }))))
}
