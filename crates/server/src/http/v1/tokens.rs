//! `/v1/tokens`: logins of programs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use db::Tx;
use mail::key::{self, Kind};
use mail::text::TokenName;
use mail::tokens::{self, Scope, Scopes, TokenInfo};
use mail::{Cx, Time, UserId, users};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, SchemaType, Type};

use super::fields::{Fields, Place, any_text, list as list_of, text, time};
use super::idempotency::{Begun, Done, Keyed, Reply};
use super::input::{Id, Input};
use super::operation::{Api, Operation, Tag};
use super::page::Page;
use crate::http::App;
use crate::http::auth::{Account, Caller, Stranger};
use crate::http::client::Device;
use crate::http::code::Code;
use crate::http::{Error, login};
use crate::runtime::clock;

/// The calls under `/v1/tokens`.
pub(super) fn api(api: Api) -> Api {
    let create = Operation::post("/v1/tokens", "createToken", Tag::Tokens, "Makes a token")
        .scope::<Account>()
        .or_password()
        .body::<NewToken>()
        .rule(name_and_password())
        .answers::<Created>(201, "The token, which is shown this once.")
        .leads_to(&["revokeToken"], "id", "/id")
        .errors(&[Code::AuthenticationFailed, Code::RateLimited, Code::TooManyTokens]);
    let list = Operation::get("/v1/tokens", "listTokens", Tag::Tokens, "Lists the tokens")
        .scope::<Account>()
        .answers_page::<Token>("All tokens of the caller, without their secrets.");
    let path = "/v1/tokens/{id}";
    let revoke = Operation::delete(path, "revokeToken", Tag::Tokens, "Revokes a token")
        .scope::<Account>()
        .done("It holds no more.");
    api.add(create, self::create).add(list, self::list).add(revoke, self::revoke)
}

/// A token to be made, by a caller who is logged in or with a name and its password.
#[derive(ToSchema)]
struct NewToken {
    /// What its owner knows it by. No control characters, and no space at its ends.
    #[schema(
        value_type = String,
        max_length = 100,
        format = "label",
        min_length = 1,
        example = "backup script"
    )]
    name: TokenName,
    /// When it ends; without it, when it is revoked.
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-01-01T00:00:00Z")]
    expires_at: Option<Time>,
    /// By default all that the caller has.
    #[schema(schema_with = new_scopes_schema, required = false)]
    scopes: Option<Scopes>,
    #[schema(example = "dana")]
    username: Option<String>,
    #[schema(format = Password, example = "two-wild-geese")]
    password: Option<String>,
}

fn scopes_schema() -> Array {
    let names = Scope::ALL.map(Scope::name);
    let scope = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    let scopes = ArrayBuilder::new().items(scope).min_items(Some(1)).max_items(Some(names.len()));
    scopes.examples([json!([names[0]])]).build()
}

fn new_scopes_schema() -> Array {
    let mut scopes = scopes_schema();
    scopes.schema_type = SchemaType::from_iter([Type::Array, Type::Null]);
    scopes
}

/// Both or neither.
fn name_and_password() -> Value {
    let both = |kind| json!({ "username": { "type": kind }, "password": { "type": kind } });
    json!({
        "anyOf": [
            { "required": ["username", "password"], "properties": both("string") },
            { "properties": both("null") },
        ],
    })
}

impl NewToken {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", text(TokenName::parse));
        let expires_at = fields.optional("expires_at", time);
        let scopes = fields.optional("scopes", |value, place: &mut Place<'_>| {
            let known = |name: &str| Scopes::parse([name]).map(|_known| name.to_owned());
            let name = |value, place: &mut Place<'_>| text(known)(value, place);
            let names = list_of(1..=Scope::ALL.len(), name)(value, place)?;
            Scopes::parse(names.iter().map(String::as_str)).ok()
        });
        let username = fields.optional("username", any_text);
        let password = fields.optional("password", any_text);
        if let (Some(Some(_)), Some(None)) = (&username, &password) {
            return fields.missing("password");
        }
        if let (Some(None), Some(Some(_))) = (&username, &password) {
            return fields.missing("username");
        }
        Some(Self {
            name: name?,
            expires_at: expires_at?,
            scopes: scopes?,
            username: username?,
            password: password?,
        })
    }
}

/// A token as its owner sees it.
#[derive(Serialize, Deserialize, ToSchema)]
struct Token {
    #[schema(minimum = 1, example = 2_251_799_813_685_247_i64)]
    id: i64,
    #[schema(example = "backup script")]
    name: String,
    #[schema(schema_with = scopes_schema)]
    scopes: Vec<String>,
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    created_at: String,
    #[schema(required, format = DateTime, example = "2027-01-01T00:00:00Z")]
    expires_at: Option<String>,
    /// To the minute.
    #[schema(required, format = DateTime, example = "2026-11-22T20:16:23Z")]
    last_used_at: Option<String>,
}

impl From<TokenInfo> for Token {
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

/// A token that was just made.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = CreatedToken)]
struct Created {
    /// For `Authorization: Bearer`.
    #[schema(example = "prt_7.Zm9yIGV4YW1wbGUgb25seSwgbm8gc2VjcmV0IGF0IGFs")]
    token: String,
    #[schema(minimum = 1, example = 7)]
    user_id: i64,
    #[serde(flatten)]
    #[schema(inline)]
    listed: Token,
}

async fn create(
    State(app): State<App>,
    caller: Result<Caller<Account>, Error>,
    stranger: Result<Stranger, Error>,
    device: Device,
    keyed: Keyed,
    mut input: Input,
) -> Result<Response, Error> {
    let NewToken { name, expires_at, scopes, username, password } = input.read(NewToken::read)?;
    if let (Some(username), Some(password)) = (username, password) {
        stranger?;
        let new = tokens::NewToken { name, scopes: scopes.unwrap_or(Scopes::all()), expires_at };
        return by_password(&app, &device, &keyed, input.bytes(), &username, password, new).await;
    }
    let caller = caller?;
    let scopes = scopes.unwrap_or(caller.scopes);
    // Nobody makes of a token one that allows more.
    let more = |scope: &Scope| scopes.contains(*scope) && !caller.scopes.contains(*scope);
    if let Some(more) = Scope::ALL.into_iter().find(more) {
        return Err(Error::insufficient_scope(more.name()));
    }
    let new = tokens::NewToken { name, scopes, expires_at };
    let once = match keyed.begin(&app, Some(caller.user), input.bytes()).await? {
        Begun::Before(done) => return show(done),
        Begun::Now(once) => once,
    };
    let made =
        once.finish(&app, move |tx, cx, secret| make(tx, cx, caller.user, secret, &new)).await?;
    tracing::info!(user = caller.user.get(), "made a token");
    show(made)
}

/// Makes a token for a program that has the name and the password of its user.
async fn by_password(
    app: &App,
    device: &Device,
    keyed: &Keyed,
    body: &[u8],
    username: &str,
    password: String,
    new: tokens::NewToken,
) -> Result<Response, Error> {
    // Counted before the kept answer is looked for: who knows the key could guess the password.
    let attempt = login::begin(app, &app.clock.cx(), username, device).await?;
    let once = match keyed.begin(app, None, body).await? {
        Begun::Before(done) => {
            app.db.write(move |tx| attempt.forgive(tx)).await?;
            return show(done);
        }
        Begun::Now(once) => once,
    };
    let credentials = attempt.check(app, password).await?;
    let (user, forgiven) = (credentials.user, attempt.clone());
    let made = once.finish(app, move |tx, cx, secret| {
        users::confirm(tx, &credentials)?;
        forgiven.forgive(tx)?;
        make(tx, cx, user, secret, &new)
    });
    let made = made.await?;
    attempt.succeeded(app, user);
    show(made)
}

fn make(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    secret: &[u8; 32],
    new: &tokens::NewToken,
) -> mail::Result<Reply> {
    let listed = tokens::create(tx, cx, owner, secret, new)?.listed.into();
    let created = Created { token: String::new(), user_id: owner.get(), listed };
    Ok(Reply::json(StatusCode::CREATED, &created))
}

/// The answer with the token, which is kept nowhere.
fn show(done: Done) -> Result<Response, Error> {
    done.reveal(|created: &mut Created, secret| {
        let owner = UserId::new(created.user_id);
        created.token =
            owner.map(|owner| key::token(owner, Kind::Token, secret)).unwrap_or_default();
    })
}

async fn list(State(app): State<App>, caller: Caller<Account>) -> Result<Json<Page<Token>>, Error> {
    let listed = app.db.read(move |tx| tokens::list(tx, caller.user)).await?;
    Ok(Json(Page::whole(listed.into_iter().map(Token::from).collect())))
}

async fn revoke(
    State(app): State<App>,
    caller: Caller<Account>,
    Id(id): Id<i64>,
) -> Result<StatusCode, Error> {
    let revoked = app.db.write(move |tx| tokens::revoke(tx, caller.user, id)).await?;
    let revoked = revoked.ok_or_else(|| Error::new(Code::NotFound, "there is no such token"))?;
    app.sessions.forget(&revoked);
    tracing::info!(user = caller.user.get(), "revoked a token");
    Ok(StatusCode::NO_CONTENT)
}
