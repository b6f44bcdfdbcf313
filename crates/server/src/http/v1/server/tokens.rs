//! `/v1/server/tokens`: browser tokens of users, made and revoked by the app's own server.

use std::sync::Arc;

use domain::browser_tokens::{self, AppSession, Generation};
use domain::server_keys::KeyScope;
use domain::tokens::{Scope, Scopes};
use domain::users::{self, Put, Standing};
use domain::{Time, UserRef, audit};
use serde_json::{Value, json};

use super::user_fields::NewPerson;
use crate::http::browser_token::Said;
use crate::http::server_key::{Tokens, check_scope};
use crate::http::v1::document::Schemas;
use crate::http::v1::prelude::*;
use crate::http::v1::reader::{FieldContext, FieldType};

pub(super) fn api(api: Api) -> Api {
    api.on("POST /v1/server/tokens", "createBrowserToken", "Makes a browser token", create)
        .answers::<CreatedBrowserToken>(201, "The token, for a page of that user.")
        .errors(&[
            Code::NotFound,
            Code::UserUnknown,
            Code::UserDeactivated,
            Code::SystemUser,
            Code::UserErased,
            Code::UsernameTaken,
        ])
        .on(
            "POST /v1/server/users/{ref}/revoke",
            "revokeBrowserTokens",
            "Ends browser tokens and JWTs",
            revoke,
        )
        .done("Those of the user that were issued until now have ended, or those of the session.")
}

fields! {
    /// The token to make.
    struct NewBrowserToken {
        /// Whose token it is.
        required user: UserRef = "ext:42";
        /// Seconds until it expires; by default 900.
        optional expires_in: Lifetime = 900;
        /// By default both.
        change scopes: PageScopes;
        /// The name of the app's own session, by which its tokens can be revoked.
        optional session: SessionName = "web-8f14";
        /// What to make the person of, if there is no user: only one of an external id. It takes
        /// the scope `users` as well.
        optional create: NewPerson;
    }
}

fields! {
    /// What to end.
    struct Revocation {
        /// The name of the app's own session; by default, everything ends.
        change session: SessionName = "web-8f14";
    }
}

/// A browser token.
#[derive(Serialize, ToSchema)]
struct CreatedBrowserToken {
    /// For `Authorization: Bearer`, from pages of the user.
    #[schema(example = "pru_7.AQMAAAAAAAAAAAAFm1z3Hk2AAAYDxZ7xQAAA")]
    token: String,
    #[schema(format = DateTime, example = "2026-11-22T20:31:23Z")]
    expires_at: String,
    user: PersonView,
}

/// What is stored of a token for a replay: what it says, without the session, which the request
/// names.
#[derive(Serialize, Deserialize)]
struct KeptBrowserToken {
    user: i64,
    scopes: u8,
    generation: i64,
    origin: i64,
    expires_at: i64,
}

impl KeptBrowserToken {
    fn generation(&self) -> Generation {
        Generation { number: self.generation, origin: self.origin }
    }
}

async fn create(
    State(app): State<App>,
    caller: ServerCaller<Tokens>,
    KeyedBody(new, request): KeyedBody<NewBrowserToken>,
) -> Result<Response, Error> {
    let NewBrowserToken { user, expires_in, scopes, session, create } = new;
    if create.is_some() {
        check_scope(&caller.key, KeyScope::Users)?;
    }
    let create = create.map(NewPerson::change);
    let now = app.clock.now();
    let scopes = scopes.map_or(Scopes::of_messages(), |PageScopes(scopes)| scopes).bits();
    let expires_at = now.plus(expires_in.unwrap_or_default().0 * Time::SECOND).0;
    let session = session.map(|SessionName(session)| session);
    let keep = move |user: UserId, Generation { number, origin }| {
        let user = user.get();
        KeptBrowserToken { user, scopes, generation: number, origin, expires_at }
    };
    let of = user.clone();
    match app.db.of(caller.key.id).read_one(move |tx| users::standing(tx, &of)).await? {
        // With the token the user's messages can be read.
        Some((user, Standing::Active)) => {
            app.has_read(&caller.call, user, now)?;
        }
        None if create.is_some() => {}
        Some((_, Standing::Deactivated)) => return Err(domain::Error::UserDeactivated.into()),
        Some((_, Standing::System)) => {
            return Err(Error::new(Code::SystemUser, "nobody signs in as a system user"));
        }
        None => return Err(Error::new(Code::UserUnknown, "there is no such user")),
    }
    let call = Arc::clone(&caller.call);
    let issue = move |tx: &mut Tx<'_>, cx: &Cx| {
        let owner = match (users::resolve(tx, &user)?, &create) {
            (Some(owner), _) => owner,
            (None, None) => return Err(domain::Error::UnknownUser),
            (None, Some(change)) => {
                let put = Put { user: user.clone(), change: change.clone() };
                let owner = users::put(tx, cx, &put)?.0.person.id;
                audit::record(tx, cx, &call, Some(owner))?;
                owner
            }
        };
        // What is shown is read again, and somebody may just be revoking.
        Ok(keep(owner, browser_tokens::locked_generation(tx, owner)?))
    };
    let keys = App::clone(&app);
    let show = move |tx: &mut Tx<'_>, cx: &Cx, kept: &KeptBrowserToken, _: &[u8; 32]| {
        show(tx, cx, &keys, kept, session)
    };
    let issue = move |tx: &mut Tx<'_>, cx: &Cx, _: &[u8; 32]| issue(tx, cx);
    request.run(&app, By::Key(&caller.call), issue, show).await
}

/// Responds with the token, which is stored nowhere, while it is valid.
fn show(
    tx: &mut Tx<'_>,
    cx: &Cx,
    app: &App,
    kept: &KeptBrowserToken,
    session: Option<AppSession>,
) -> domain::Result<Option<Response>> {
    let (expires_at, scopes) = (Time(kept.expires_at), Scopes::from_bits(kept.scopes));
    let (Some(user), Some(scopes)) = (UserId::new(kept.user), scopes) else { return Ok(None) };
    let is_valid = match browser_tokens::generation(tx, user) {
        Ok(generation) => generation == kept.generation() && expires_at > cx.now,
        Err(domain::Error::UnknownUser | domain::Error::UserDeactivated) => false,
        Err(error) => return Err(error),
    };
    let person = if is_valid { users::person(tx, user)? } else { None };
    Ok(person.map(|person| {
        let generation = kept.generation();
        let token =
            app.browser_tokens.make(&Said { user, scopes, generation, session, expires_at });
        let expires_at = clock::rfc3339(expires_at);
        let created = CreatedBrowserToken { token, expires_at, user: person.into() };
        (StatusCode::CREATED, Json(created)).into_response()
    }))
}

async fn revoke(
    State(app): State<App>,
    caller: ServerCaller<Tokens>,
    PathRef(of): PathRef,
    KeyedBody(Revocation { session }, _repeated): KeyedBody<Revocation>,
) -> Result<StatusCode, Error> {
    let (cx, session) = (app.clock.cx(), session.map(|SessionName(session)| session));
    let revoked = app.db.of(caller.key.id).write_for(Purpose::Free, move |tx| {
        let user = users::resolve(tx, &of)?.ok_or(domain::Error::UnknownUser)?;
        browser_tokens::revoke(tx, &cx, user, session.as_ref())?;
        audit::record(tx, &cx, &caller.call, Some(user))?;
        Ok::<_, domain::Error>(user)
    });
    app.sessions.forget_all(revoked.await?);
    Ok(StatusCode::NO_CONTENT)
}

/// Seconds for which a token is valid.
struct Lifetime(i64);

const SHORTEST: i64 = 60;
const LONGEST: i64 = browser_tokens::LONGEST / Time::SECOND;

impl Default for Lifetime {
    fn default() -> Self {
        Self(900)
    }
}

impl FieldType for Lifetime {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let Value::Number(number) = value else {
            return field.refuse("wrong_type", "it must be a whole number of seconds");
        };
        let seconds = number.as_i64().filter(|seconds| (SHORTEST..=LONGEST).contains(seconds));
        let problem = "it must be a whole number of seconds from 60 to 86400";
        seconds.map(Self).or_else(|| field.refuse("invalid", problem))
    }

    fn schema(_schemas: &mut Schemas) -> Value {
        json!({ "type": "integer", "minimum": SHORTEST, "maximum": LONGEST, "default": 900 })
    }
}

/// Scopes that a page can have.
struct PageScopes(Scopes);

const PAGE_SCOPES: [Scope; 2] = [Scope::Read, Scope::Write];

impl FieldType for PageScopes {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let scopes = Scopes::read(value, field)?;
        let problem = "a browser token is never for the account: messages:read, messages:write";
        if scopes.contains(Scope::Account) {
            return field.refuse("invalid", problem);
        }
        Some(Self(scopes))
    }

    fn schema(_schemas: &mut Schemas) -> Value {
        let names = PAGE_SCOPES.map(Scope::name);
        let items = json!({ "type": "string", "enum": names });
        json!({ "type": "array", "items": items, "minItems": 1, "maxItems": 3,
                "examples": [[names[0]]] })
    }
}

/// The name of a session of the app, of which only a hash is kept.
struct SessionName(AppSession);

impl FieldType for SessionName {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let Value::String(name) = value else {
            return field.refuse("wrong_type", "it must be text");
        };
        let problem = "it must have 1 to 255 characters";
        AppSession::fits(&name)
            .then(|| Self(AppSession::named(&name)))
            .or_else(|| field.refuse("invalid", problem))
    }

    fn schema(_schemas: &mut Schemas) -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 255 })
    }
}
