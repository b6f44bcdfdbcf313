//! `/v1/sessions`: logging in and out with a cookie.

use axum::http::header::{HeaderMap, SET_COOKIE};
use axum::response::AppendHeaders;
use domain::credential::{self, Credential, CredentialKind};
use domain::users::{self, StoredPassword};
use domain::{Time, sessions};

use super::field_types::{EnteredPassword, SessionId};
use super::prelude::*;
use crate::http::cookies;
use crate::http::login::login_name;

pub(super) fn api(api: Api) -> Api {
    api.tag("Sessions", "Logins of browsers, with a cookie.")
        .on("POST /v1/sessions", "logIn", "Logs in with a cookie", start)
        .answers::<Started>(201, "A new session; the previous session of the client has ended.")
        .header("Set-Cookie", "The cookies `sessionid` and `csrftoken`.")
        .errors(&[Code::AuthenticationFailed, Code::RateLimited])
        .on("GET /v1/csrf", "getCsrfToken", "Gets a CSRF token", csrf)
        .answers::<CsrfToken>(200, "The token that the client has, or a new one.")
        .header("Set-Cookie", "The cookie `csrftoken` with the token.")
        .on("GET /v1/sessions", "listSessions", "Lists the sessions", list)
        .answers_page::<SessionView>("All sessions of the caller, at most 100.")
        .on("DELETE /v1/sessions/current", "logOut", "Logs out", out)
        .done("The session has ended.")
        .header("Set-Cookie", "Removes the cookie `sessionid`.")
        .errors(&[Code::NotFound])
        .on("DELETE /v1/sessions/{id}", "endSession", "Ends a session", end)
        .done("The session has ended.")
}

fields! {
    /// A username and its password.
    struct Login {
        required username: String = "dana";
        required password: EnteredPassword = "two-wild-geese";
    }
}

/// What is stored of a new session.
#[derive(Serialize, Deserialize)]
struct KeptSession {
    user: i64,
    expires_at: i64,
}

/// A new session.
#[derive(Serialize, ToSchema)]
struct Started {
    user: PersonView,
    /// For the header `X-CSRFToken` of every request that changes something.
    csrf_token: String,
    /// When the session ends if it is not used until then.
    #[schema(format = DateTime, example = "2026-12-06T20:16:23Z")]
    expires_at: String,
}

async fn start(
    State(app): State<App>,
    stranger: Stranger,
    device: Device,
    KeyedBody(Login { username, password }, request): KeyedBody<Login>,
) -> Result<Response, Error> {
    let (replaced, client) = (stranger.session, device.client());
    let start = move |tx: &mut Tx<'_>, cx: &Cx, credentials: &StoredPassword, secret: &[u8; 32]| {
        sessions::start(tx, cx, credentials, secret, &client, replaced.as_ref())?;
        let expires_at = cx.now.plus(sessions::IDLE).0;
        Ok(KeptSession { user: credentials.user.get(), expires_at })
    };
    let (keys, secure, named) = (App::clone(&app), device.secure, login_name(&username));
    let show = move |tx: &mut Tx<'_>, cx: &Cx, kept: &KeptSession, secret: &[u8; 32]| {
        let Some(user) = UserId::new(kept.user) else { return Ok(None) };
        let token = credential::token(user, CredentialKind::Session, secret);
        let valid = match Credential::parse(&token) {
            Some(session) => sessions::find(tx, cx, &session)?,
            None => None,
        };
        let (Some(_valid), Some(person)) = (valid, users::person(tx, user)?) else {
            return Ok(None);
        };
        // The name may have gone to somebody else since.
        if login_name(&person.username) != named {
            return Ok(None);
        }
        let csrf_token = keys.csrf.of_session(secret);
        let cookies = [cookies::session(&token, secure), cookies::csrf(&csrf_token, secure)];
        let expires_at = clock::rfc3339(Time(kept.expires_at));
        let started = Json(Started { user: person.into(), csrf_token, expires_at });
        let cookies = AppendHeaders(cookies.map(|cookie| (SET_COOKIE, cookie)));
        Ok(Some((StatusCode::CREATED, cookies, started).into_response()))
    };
    let login = (username.as_str(), password.0);
    let response = request.run_with_password(&app, &device, login, start, show).await?;
    if let Some(replaced) = replaced {
        app.sessions.forget(&replaced);
    }
    Ok(response)
}

/// A CSRF token.
#[derive(Serialize, ToSchema)]
struct CsrfToken {
    /// For the header `X-CSRFToken` of every request by cookie that changes something.
    csrf_token: String,
}

async fn csrf(State(app): State<App>, headers: HeaderMap, device: Device) -> impl IntoResponse {
    let csrf_token = app.csrf.token(&app.clock.cx(), &headers);
    let cookie = cookies::csrf(&csrf_token, device.secure);
    ([(SET_COOKIE, cookie)], Json(CsrfToken { csrf_token }))
}

/// A session as its owner sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionView {
    #[schema(minimum = 1, example = 2_251_799_813_685_247_i64)]
    id: i64,
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    created_at: String,
    /// Accurate to the minute.
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    last_seen_at: String,
    /// The address that it was started from; empty if unknown.
    #[schema(example = "203.0.113.5")]
    address: String,
    /// The `User-Agent` of the client.
    #[schema(example = "Mozilla/5.0")]
    user_agent: String,
    /// Whether this request was made with this session.
    current: bool,
}

async fn list(
    State(app): State<App>,
    caller: Caller<Account>,
) -> Result<Json<ListPage<SessionView>>, Error> {
    let cx = app.clock.cx();
    list_turns::take(caller.line());
    let listed = caller.long(&app).read_one(move |tx| sessions::list(tx, &cx, caller.user)).await?;
    let shown = listed.into_iter().map(|session| SessionView {
        id: session.id,
        created_at: clock::rfc3339(session.created_at),
        last_seen_at: clock::rfc3339(session.last_seen_at),
        address: session.address,
        user_agent: session.user_agent,
        current: session.credential == caller.key,
    });
    Ok(ListPage::new(shown.collect(), None))
}

async fn out(
    State(app): State<App>,
    caller: Caller<Account>,
    device: Device,
) -> Result<impl IntoResponse, Error> {
    if caller.key.kind != CredentialKind::Session {
        return Err(domain::Error::NotFound(Missing::Session).into());
    }
    app.db
        .of(caller.user)
        .write_for(Purpose::Free, move |tx| sessions::end(tx, &caller.key))
        .await?;
    app.sessions.forget(&caller.key);
    tracing::info!(client = %device.address, user = caller.user.get(), "logged out");
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookies::no_session(device.secure))]))
}

async fn end(
    State(app): State<App>,
    caller: Caller<Account>,
    device: Device,
    PathId(SessionId(id)): PathId<SessionId>,
) -> Result<StatusCode, Error> {
    let end = move |tx: &mut Tx<'_>| sessions::end_by_id(tx, caller.user, id);
    let ended = app.db.of(caller.user).write_for(Purpose::Free, end).await?;
    app.sessions.forget(&ended.ok_or(domain::Error::NotFound(Missing::Session))?);
    let user = caller.user.get();
    tracing::info!(client = %device.address, user, session = id, "ended a session");
    Ok(StatusCode::NO_CONTENT)
}
