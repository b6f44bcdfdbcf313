//! `/v1/tokens`: logins of programs.

use axum::Extension;
use domain::credential::{self, Credential, CredentialKind};
use domain::text::TokenName;
use domain::tokens::{self, Scope, Scopes, TokenInfo};
use domain::users::{self, StoredPassword};
use domain::{Time, credentials};

use super::field_types::{EnteredPassword, TokenId, view_schema};
use super::idempotency::{Created, created};
use super::prelude::*;
use crate::http::login::login_name;

pub(super) fn api(api: Api) -> Api {
    api.tag("Tokens", "Logins of programs, with a bearer token.")
        .on("POST /v1/tokens", "createToken", "Creates a token", create)
        .or_password()
        .answers::<CreatedToken>(201, "The token, which is shown only this once.")
        .leads_to(&["revokeToken"], "id", "/id")
        .errors(&[Code::AuthenticationFailed, Code::RateLimited, Code::TooManyTokens])
        .on("GET /v1/tokens", "listTokens", "Lists the tokens", list)
        .answers_page::<TokenView>("All tokens of the caller, without their secrets.")
        .on("DELETE /v1/tokens/{id}", "revokeToken", "Revokes a token", revoke)
        .done("The token is no longer valid.")
}

fields! {
    /// The token to create, for the logged-in caller or for a username and its password.
    struct NewToken {
        /// A name for its owner. No control characters, and no space at the start or end.
        required name: TokenName = "backup script";
        /// When the token expires; by default, never, or with the token that creates it. It cannot
        /// be later than that.
        optional expires_at: Time = "2027-01-01T00:00:00Z";
        /// By default, all scopes of the caller.
        change scopes: Scopes;
        optional username: String = "dana";
        optional password: EnteredPassword = "two-wild-geese";
    }
    rules [Rule::Together("username", "password")]
}

/// A token as its owner sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenView {
    #[schema(minimum = 1, example = 2_251_799_813_685_247_i64)]
    id: i64,
    #[schema(example = "backup script")]
    name: String,
    #[schema(schema_with = view_schema::<Scopes>)]
    scopes: Vec<String>,
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    created_at: String,
    #[schema(required, format = DateTime, example = "2027-01-01T00:00:00Z")]
    expires_at: Option<String>,
    /// Accurate to the minute.
    #[schema(required, format = DateTime, example = "2026-11-22T20:16:23Z")]
    last_used_at: Option<String>,
}

impl From<TokenInfo> for TokenView {
    fn from(token: TokenInfo) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scopes: token.scopes.names().map(str::to_owned).collect(),
            created_at: clock::rfc3339(token.created_at),
            expires_at: token.expires_at.map(clock::rfc3339),
            last_used_at: token.last_used_at.map(clock::rfc3339),
        }
    }
}

/// What is stored of a new token: its owner.
#[derive(Serialize, Deserialize)]
struct KeptToken {
    user: i64,
}

/// A new token.
#[derive(Serialize, ToSchema)]
struct CreatedToken {
    /// For `Authorization: Bearer`.
    #[schema(example = "prt_7.Zm9yIGV4YW1wbGUgb25seSwgbm8gc2VjcmV0IGF0IGFs")]
    token: String,
    #[schema(minimum = 1, example = 7)]
    user_id: i64,
    #[serde(flatten)]
    #[schema(inline)]
    listed: TokenView,
}

async fn create(
    State(app): State<App>,
    caller: Result<Caller<Account>, Error>,
    stranger: Result<Stranger, Error>,
    device: Device,
    KeyedBody(new, request): KeyedBody<NewToken>,
) -> Result<Response, Error> {
    let NewToken { name, expires_at, scopes, username, password } = new;
    if let (Some(username), Some(password)) = (username, password) {
        stranger?;
        let new = tokens::NewToken { name, scopes: scopes.unwrap_or(Scopes::all()), expires_at };
        let login = (username.as_str(), password.0);
        let create = move |tx: &mut Tx<'_>, cx: &Cx, login: &StoredPassword, secret: &[u8; 32]| {
            tokens::create_by_password(tx, cx, login, secret, &new)?;
            Ok(KeptToken { user: login.user.get() })
        };
        let named = login_name(&username);
        let show = move |tx: &mut Tx<'_>, cx: &Cx, kept: &KeptToken, secret: &[u8; 32]| {
            let owner = UserId::new(kept.user).map(|owner| users::person(tx, owner)).transpose()?;
            // The name may have gone to somebody else since.
            match owner.flatten().filter(|owner| login_name(&owner.username) == named) {
                Some(_owner) => show(tx, cx, kept, secret),
                None => Ok(None),
            }
        };
        let response = request.run_with_password(&app, &device, login, create, show).await?;
        log_created(&response, &device);
        return Ok(response);
    }
    let caller = caller?;
    let scopes = scopes.unwrap_or(caller.scopes);
    confirm_no_more(scopes, caller.scopes)?;
    let new = tokens::NewToken { name, scopes, expires_at };
    let (by, grant) = (caller.key, caller.pass.as_ref().map(|pass| pass.grant));
    let create = move |tx: &mut Tx<'_>, cx: &Cx, secret: &[u8; 32]| {
        let end = credentials::confirm(tx, cx, &by, grant.as_ref())?;
        tokens::create(tx, cx, by.user, secret, &new.clone().within(end)?)?;
        Ok(KeptToken { user: by.user.get() })
    };
    let response = request.run(&app, caller.by(), create, show).await?;
    // A replay is of a token that another caller may have created for this user.
    let shown = response.extensions().get::<Scopes>().copied();
    shown.map_or(Ok(()), |shown| confirm_no_more(shown, caller.scopes))?;
    log_created(&response, &device);
    Ok(response)
}

/// A token neither creates nor shows one that allows more.
fn confirm_no_more(scopes: Scopes, own: Scopes) -> Result<(), Error> {
    let more = |scope: &Scope| scopes.contains(*scope) && !own.contains(*scope);
    let more = Scope::ALL.into_iter().find(more);
    more.map_or(Ok(()), |more| Err(Error::insufficient_scope(more.name())))
}

/// Responds with the token, which is stored nowhere, while it is valid.
fn show(
    tx: &mut Tx<'_>,
    cx: &Cx,
    kept: &KeptToken,
    secret: &[u8; 32],
) -> domain::Result<Option<Response>> {
    let Some(owner) = UserId::new(kept.user) else { return Ok(None) };
    let token = credential::token(owner, CredentialKind::Token, secret);
    let info = match Credential::parse_token(&token) {
        Some(credential) => tokens::info(tx, cx, &credential)?,
        None => None,
    };
    Ok(info.map(|info| {
        let scopes = Extension(info.scopes);
        // The first result again: the token had not been used then.
        let listed: TokenView = TokenInfo { last_used_at: None, ..info }.into();
        let created = Extension(Created { user: kept.user, id: listed.id });
        let shown = CreatedToken { token, user_id: kept.user, listed };
        (StatusCode::CREATED, created, scopes, Json(shown)).into_response()
    }))
}

fn log_created(response: &Response, device: &Device) {
    if let Some(Created { user, id: token }) = created(response) {
        tracing::info!(client = %device.address, user, token, "created a token");
    }
}

async fn list(
    State(app): State<App>,
    caller: Caller<Account>,
) -> Result<Json<ListPage<TokenView>>, Error> {
    list_turns::take(caller.line());
    let listed = caller.long(&app).read_one(move |tx| tokens::list(tx, caller.user)).await?;
    Ok(ListPage::new(listed.into_iter().map(TokenView::from).collect(), None))
}

async fn revoke(
    State(app): State<App>,
    caller: Caller<Account>,
    device: Device,
    PathId(TokenId(id)): PathId<TokenId>,
) -> Result<StatusCode, Error> {
    let revoke = move |tx: &mut Tx<'_>| tokens::revoke(tx, caller.user, id);
    let revoked = app.db.of(caller.user).write_for(Purpose::Free, revoke).await?;
    let revoked = revoked.ok_or(domain::Error::NotFound(Missing::Token))?;
    app.sessions.forget(&revoked);
    let user = caller.user.get();
    tracing::info!(client = %device.address, user, token = id, "revoked a token");
    Ok(StatusCode::NO_CONTENT)
}
