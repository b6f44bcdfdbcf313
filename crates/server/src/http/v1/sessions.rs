//! `/v1/sessions`: logging in and out with a cookie.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Response};
use mail::key::{self, Key, Kind};
use mail::sessions::{self, Listed};
use mail::{UserId, users};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{Fields, any_text};
use super::idempotency::{Begun, Done, Keyed, Reply};
use super::input::{Id, Input};
use super::operation::{Api, Operation, Tag};
use super::page::Page;
use super::users::Person;
use crate::http::App;
use crate::http::auth::{Account, Caller, Stranger};
use crate::http::client::Device;
use crate::http::code::Code;
use crate::http::{Error, cookies, login};
use crate::runtime::clock;

/// The calls under `/v1/sessions`.
pub(super) fn api(api: Api) -> Api {
    let start = Operation::post("/v1/sessions", "logIn", Tag::Sessions, "Logs in with a cookie")
        .body::<Login>()
        .answers::<Started>(201, "A new session; the one that the client had has ended.")
        .header("Set-Cookie", "The cookies `sessionid` and `csrftoken`.")
        .errors(&[Code::AuthenticationFailed, Code::RateLimited]);
    let list = Operation::get("/v1/sessions", "listSessions", Tag::Sessions, "Lists the sessions")
        .scope::<Account>()
        .answers_page::<Session>("All sessions of the caller, at most 100.");
    let path = "/v1/sessions/current";
    let out = Operation::delete(path, "logOut", Tag::Sessions, "Logs out")
        .scope::<Account>()
        .done("The session has ended.")
        .header("Set-Cookie", "Removes the cookie `sessionid`.")
        .errors(&[Code::NotFound]);
    let path = "/v1/sessions/{id}";
    let end = Operation::delete(path, "endSession", Tag::Sessions, "Ends a session")
        .scope::<Account>()
        .done("The session has ended.");
    api.add(start, self::start).add(list, self::list).add(out, self::out).add(end, self::end)
}

/// A name and its password.
#[derive(ToSchema)]
struct Login {
    #[schema(example = "dana")]
    username: String,
    #[schema(format = Password, example = "two-wild-geese")]
    password: String,
}

impl Login {
    fn read(fields: &mut Fields) -> Option<Self> {
        let username = fields.required("username", any_text);
        let password = fields.required("password", any_text);
        Some(Self { username: username?, password: password? })
    }
}

/// A session that was just started.
#[derive(Serialize, Deserialize, ToSchema)]
struct Started {
    user: Person,
    /// For the header X-CSRFToken of every request that changes something.
    csrf_token: String,
    /// When the session ends, if it is not used until then.
    #[schema(format = DateTime, example = "2026-12-06T20:16:23Z")]
    expires_at: String,
}

async fn start(
    State(app): State<App>,
    stranger: Stranger,
    device: Device,
    keyed: Keyed,
    mut input: Input,
) -> Result<Response, Error> {
    let Login { username, password } = input.read(Login::read)?;
    let cx = app.clock.cx();
    // Counted before the kept answer is looked for: who knows the key could guess the password.
    let attempt = login::begin(&app, &cx, &username, &device).await?;
    let once = match keyed.begin(&app, None, input.bytes()).await? {
        Begun::Before(done) => {
            app.db.write(move |tx| attempt.forgive(tx)).await?;
            return show(&app, &device, done);
        }
        Begun::Now(once) => once,
    };
    let credentials = attempt.check(&app, password).await?;
    let (user, replaced, client) = (credentials.user, stranger.session, device.client());
    let forgiven = attempt.clone();
    let done = once.finish(&app, move |tx, cx, secret| {
        sessions::start(tx, cx, &credentials, secret, &client, replaced.as_ref())?;
        forgiven.forgive(tx)?;
        let person = users::person(tx, user)?.ok_or(mail::Error::UnknownUser)?;
        let expires_at = clock::rfc3339(cx.now.plus(sessions::IDLE));
        let started = Started { user: person.into(), csrf_token: String::new(), expires_at };
        Ok(Reply::json(StatusCode::CREATED, &started))
    });
    let done = done.await?;
    if let Some(replaced) = replaced {
        app.sessions.forget(&replaced);
    }
    attempt.succeeded(&app, user);
    show(&app, &device, done)
}

/// The answer with its cookies, which are kept nowhere.
fn show(app: &App, device: &Device, done: Done) -> Result<Response, Error> {
    let mut cookies = None;
    let response = done.reveal(|started: &mut Started, secret| {
        started.csrf_token = app.csrf.of_session(secret);
        let token = UserId::new(started.user.id).map(|user| {
            let token = key::token(user, Kind::Session, secret);
            cookies::session(&token, device.secure)
        });
        cookies = token.map(|session| [session, cookies::csrf(&started.csrf_token, device.secure)]);
    })?;
    let cookies = cookies.into_iter().flatten().map(|cookie| (SET_COOKIE, cookie));
    Ok((AppendHeaders(cookies.collect::<Vec<_>>()), response).into_response())
}

/// A session as its owner sees it.
#[derive(Serialize, ToSchema)]
struct Session {
    #[schema(minimum = 1, example = 2_251_799_813_685_247_i64)]
    id: i64,
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    created_at: String,
    /// To the minute.
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    last_seen_at: String,
    /// From where it was started; empty where that is not known.
    #[schema(example = "203.0.113.5")]
    address: String,
    /// What the client said of itself.
    #[schema(example = "Mozilla/5.0")]
    user_agent: String,
    /// Whether this request was made with it.
    current: bool,
}

impl Session {
    fn of(listed: Listed, caller: &Key) -> Self {
        Self {
            id: listed.id,
            created_at: clock::rfc3339(listed.created_at),
            last_seen_at: clock::rfc3339(listed.last_seen_at),
            address: listed.address,
            user_agent: listed.user_agent,
            current: listed.key == *caller,
        }
    }
}

async fn list(
    State(app): State<App>,
    caller: Caller<Account>,
) -> Result<Json<Page<Session>>, Error> {
    let cx = app.clock.cx();
    let listed = app.db.read(move |tx| sessions::list(tx, &cx, caller.user)).await?;
    let shown = listed.into_iter().map(|session| Session::of(session, &caller.key));
    Ok(Json(Page::whole(shown.collect())))
}

async fn out(
    State(app): State<App>,
    caller: Caller<Account>,
    device: Device,
) -> Result<impl IntoResponse, Error> {
    if caller.key.kind != Kind::Session {
        return Err(no_such_session());
    }
    app.db.write(move |tx| sessions::end(tx, &caller.key)).await?;
    app.sessions.forget(&caller.key);
    tracing::info!(user = caller.user.get(), "logged out");
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookies::no_session(device.secure))]))
}

async fn end(
    State(app): State<App>,
    caller: Caller<Account>,
    Id(id): Id<i64>,
) -> Result<StatusCode, Error> {
    let ended = app.db.write(move |tx| sessions::end_by_id(tx, caller.user, id)).await?;
    app.sessions.forget(&ended.ok_or_else(no_such_session)?);
    Ok(StatusCode::NO_CONTENT)
}

fn no_such_session() -> Error {
    Error::new(Code::NotFound, "there is no such session")
}
