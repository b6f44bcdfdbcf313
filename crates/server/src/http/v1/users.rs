//! `/v1/users`: registering, the own account, looking others up.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use mail::text::{self, DisplayName, Email, Password, Username};
use mail::users::{self, AcceptFrom, Profile, ProfileChange};
use mail::{Invalid, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::fields::{Fields, Place, any_text, flag, text as parsed};
use super::idempotency::{Begun, Keyed, Reply};
use super::input::{Asked, Id, Input};
use super::operation::{Api, Operation, Tag};
use super::page::Page;
use crate::http::App;
use crate::http::auth::{Account, Caller, Read, Stranger};
use crate::http::client::Device;
use crate::http::code::Code;
use crate::http::{Error, cookies, login};
use crate::runtime::clock;

/// The calls under `/v1/users`.
pub(super) fn api(api: Api) -> Api {
    let register = Operation::post("/v1/users", "createUser", Tag::Users, "Registers an account")
        .body::<NewUser>()
        .answers::<Own>(201, "The account was made.")
        .header("Location", "Where everybody finds the user.")
        .leads_to(&["getUser"], "id", "/id")
        .leads_to(&["block", "unblock"], "user", "/id")
        .errors(&[Code::RegistrationClosed, Code::UsernameTaken, Code::RateLimited]);
    let find = Operation::get("/v1/users", "findUsers", Tag::Users, "Looks recipients up")
        .scope::<Read>()
        .query(
            "prefix",
            "How the name or the display name begins, in whatever case.",
            &json!({ "type": "string", "minLength": 1, "maxLength": text::USERNAME_CHARS }),
            "da",
        )
        .required()
        .answers_page::<Person>("Up to 20 users, the best match first.");
    let own = Operation::get("/v1/users/me", "getMe", Tag::Users, "Reads the own account")
        .scope::<Read>()
        .answers::<Own>(200, "The account.");
    let change =
        Operation::patch("/v1/users/me", "changeMe", Tag::Users, "Changes the own account")
            .scope::<Account>()
            .body::<Change>()
            .answers::<Own>(200, "The account as it is now.");
    let erase = Operation::delete("/v1/users/me", "eraseMe", Tag::Users, "Erases the own account")
        .scope::<Account>()
        .done("It is gone, with its mailbox, sessions and tokens; messages to others stay.")
        .header("Set-Cookie", "Removes the cookie `sessionid`.");
    let path = "/v1/users/me/password";
    let password = Operation::post(path, "changePassword", Tag::Users, "Sets another password")
        .scope::<Account>()
        .body::<NewPassword>()
        .done("It is set; all other sessions and tokens have ended.")
        .errors(&[Code::AuthenticationFailed, Code::RateLimited]);
    let one = Operation::get("/v1/users/{id}", "getUser", Tag::Users, "Reads a public profile")
        .scope::<Read>()
        .answers::<Person>(200, "The user; who was erased is \"deleted user\".");
    api.add(register, self::register)
        .add(find, self::find)
        .add(own, self::own)
        .add(change, self::change)
        .add(erase, self::erase)
        .add(password, self::password)
        .add(one, self::one)
}

/// A user as everybody sees one.
#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct Person {
    #[schema(minimum = 1, example = 7)]
    pub(super) id: i64,
    #[schema(example = "dana")]
    pub(super) username: String,
    /// The username where no other was chosen.
    #[schema(example = "Dana Deer")]
    pub(super) display_name: String,
}

impl From<users::Person> for Person {
    fn from(person: users::Person) -> Self {
        let users::Person { id, username, display_name } = person;
        Self { id: id.get(), username, display_name }
    }
}

/// An account as its owner sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
struct Own {
    #[serde(flatten)]
    #[schema(inline)]
    person: Person,
    #[schema(format = Email, example = "dana@example.org")]
    email: String,
    #[schema(schema_with = accept_from_schema)]
    accept_from: &'static str,
    /// Whether the owner is reminded by e-mail of what stays unread, where the server does that.
    reminders: bool,
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    created_at: String,
}

fn accept_from_schema() -> Object {
    let text = "Whom the owner takes messages from: everyone, those who are known (the owner wrote \
                to them first, or shares a conversation with them), or nobody.";
    let names = AcceptFrom::ALL.map(AcceptFrom::name);
    let text = ObjectBuilder::new().schema_type(Type::String).description(Some(text));
    text.enum_values(Some(names)).build()
}

impl From<Profile> for Own {
    fn from(profile: Profile) -> Self {
        Self {
            person: profile.person.into(),
            email: profile.email,
            accept_from: profile.accept_from.name(),
            reminders: profile.reminders,
            created_at: clock::rfc3339(profile.created_at),
        }
    }
}

/// An account to be made.
#[derive(ToSchema)]
struct NewUser {
    /// Letters, digits and `@ . + - _`.
    #[schema(
        value_type = String,
        format = "username",
        min_length = 1,
        max_length = 150,
        example = "dana"
    )]
    username: Username,
    #[schema(value_type = String, format = Email, example = "dana@example.org")]
    email: Email,
    /// 8 to 1024 bytes; the most common ones are refused.
    #[schema(value_type = String, format = Password, example = "two-wild-geese")]
    password: Password,
    /// No control characters, and no space at its ends.
    #[schema(
        value_type = Option<String>,
        max_length = 100,
        format = "label",
        min_length = 1,
        example = "Dana Deer"
    )]
    display_name: Option<DisplayName>,
}

impl NewUser {
    fn read(fields: &mut Fields) -> Option<Self> {
        let username = fields.required("username", parsed(Username::parse));
        let email = fields.required("email", parsed(Email::parse));
        let address = email.as_ref().map_or("", Email::as_str);
        let password = fields.required("password", new_password(username.as_ref(), address));
        let display_name = fields.optional("display_name", parsed(DisplayName::parse));
        Some(Self {
            username: username?,
            email: email?,
            password: password?,
            display_name: display_name?,
        })
    }
}

/// A new password. What is wrong with it is told also where the name is wrong.
fn new_password(
    name: Option<&Username>,
    email: &str,
) -> impl FnOnce(Value, &mut Place<'_>) -> Option<Password> {
    let nobody = || Username::parse("-").expect("it is a name");
    let name = name.cloned().unwrap_or_else(nobody);
    let email = email.to_owned();
    parsed(move |text| Password::parse(text, &name, &email))
}

async fn register(
    State(app): State<App>,
    _stranger: Stranger,
    device: Device,
    keyed: Keyed,
    mut input: Input,
) -> Result<Response, Error> {
    login::registration_is_open(&app)?;
    let NewUser { username, email, password, display_name } = input.read(NewUser::read)?;
    let once = match keyed.begin(&app, None, input.bytes()).await? {
        Begun::Before(done) => return Ok(done.respond()),
        Begun::Now(once) => once,
    };
    let hash = login::hash(&app, &app.clock.cx(), password).await?;
    let limit = login::registrations(&app, &device);
    let done = once.finish(&app, move |tx, cx, _secret| {
        limit.count(tx, cx)?;
        let id = users::create(tx, cx, &username, display_name.as_ref(), &email, &hash)?;
        let profile = users::profile(tx, id)?.ok_or(mail::Error::UnknownUser)?;
        let location = format!("/v1/users/{}", id.get());
        Ok(Reply::json(StatusCode::CREATED, &Own::from(profile)).location(location))
    });
    let done = done.await?;
    tracing::info!("registered");
    Ok(done.respond())
}

async fn find(
    State(app): State<App>,
    _caller: Caller<Read>,
    asked: Asked,
) -> Result<Json<Page<Person>>, Error> {
    let prefix = asked.read(|fields| {
        fields.required(
            "prefix",
            parsed(|text| match text.chars().nth(text::USERNAME_CHARS) {
                None if !text.is_empty() => Ok(text::fold(text)),
                _ => Err(Invalid::new("prefix", "it must have 1 to 150 characters")),
            }),
        )
    })?;
    let found = app.db.read(move |tx| users::lookup(tx, &prefix, users::LOOKED_UP)).await?;
    Ok(Json(Page::whole(found.into_iter().map(Person::from).collect())))
}

async fn own(State(app): State<App>, caller: Caller<Read>) -> Result<Json<Own>, Error> {
    let profile = app.db.read(move |tx| users::profile(tx, caller.user)).await?;
    Ok(Json(profile.ok_or(mail::Error::NotLoggedIn)?.into()))
}

/// What to change of an account; what is left out stays.
#[derive(ToSchema)]
#[schema(as = AccountChange)]
#[expect(dead_code, reason = "the domain has the same as a type of its own; this is its schema")]
struct Change {
    /// No control characters, and no space at its ends; null removes it.
    #[schema(
        value_type = Option<String>,
        max_length = 100,
        format = "label",
        min_length = 1,
        example = "Dana Deer"
    )]
    display_name: Option<DisplayName>,
    #[schema(value_type = Option<String>, nullable = false, format = Email)]
    email: Option<Email>,
    #[schema(schema_with = accept_from_schema, required = false)]
    accept_from: Option<AcceptFrom>,
    /// Whether to be reminded by e-mail of what stays unread.
    #[schema(value_type = Option<bool>, nullable = false)]
    reminders: Option<bool>,
}

async fn change(
    State(app): State<App>,
    caller: Caller<Account>,
    mut input: Input,
) -> Result<Json<Own>, Error> {
    let change = input.read(|fields| {
        let display_name = fields.nullable("display_name", parsed(DisplayName::parse));
        let email = fields.changed("email", parsed(Email::parse));
        let accept_from = fields.changed("accept_from", parsed(accept_from));
        let reminders = fields.changed("reminders", flag);
        Some(ProfileChange {
            display_name: display_name?,
            email: email?,
            accept_from: accept_from?,
            reminders: reminders?,
        })
    })?;
    let cx = app.clock.cx();
    let changed = app.db.write(move |tx| {
        users::update(tx, &cx, caller.user, &change)?;
        users::profile(tx, caller.user)
    });
    Ok(Json(changed.await?.ok_or(mail::Error::NotLoggedIn)?.into()))
}

fn accept_from(name: &str) -> Result<AcceptFrom, Invalid> {
    let problem = "it must be everyone, known or nobody";
    AcceptFrom::parse(name).ok_or_else(|| Invalid::new("accept_from", problem))
}

async fn erase(
    State(app): State<App>,
    device: Device,
    caller: Caller<Account>,
) -> Result<impl IntoResponse, Error> {
    let (cx, user) = (app.clock.cx(), caller.user);
    let erased = app.db.write(move |tx| users::erase(tx, &cx, user)).await;
    app.sessions.forget_all(user);
    match erased {
        // Somebody else was faster: a caller who is no more is not logged in.
        Err(mail::Error::UnknownUser) => return Err(mail::Error::NotLoggedIn.into()),
        erased => erased?,
    }
    tracing::info!(user = user.get(), "erased");
    let cookie = cookies::no_session(device.secure);
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]))
}

/// A password in the place of another.
#[derive(ToSchema)]
struct NewPassword {
    #[schema(format = Password, example = "two-wild-geese")]
    current_password: String,
    /// 8 to 1024 bytes; the most common ones are refused.
    #[schema(value_type = String, format = Password, example = "three-wild-geese")]
    new_password: Password,
}

async fn password(
    State(app): State<App>,
    caller: Caller<Account>,
    device: Device,
    keyed: Keyed,
    mut input: Input,
) -> Result<Response, Error> {
    let user = caller.user;
    let known = app.db.read(move |tx| users::profile(tx, user)).await?;
    let Profile { person, email, .. } = known.ok_or(mail::Error::NotLoggedIn)?;
    let NewPassword { current_password, new_password } = input.read(|fields| {
        let name = Username::parse(&person.username).ok();
        let current = fields.required("current_password", any_text);
        let new = fields.required("new_password", new_password(name.as_ref(), &email));
        Some(NewPassword { current_password: current?, new_password: new? })
    })?;
    let once = match keyed.begin(&app, Some(user), input.bytes()).await? {
        Begun::Before(done) => return Ok(done.respond()),
        Begun::Now(once) => once,
    };
    let cx = app.clock.cx();
    let attempt = login::begin(&app, &cx, &person.username, &device).await?;
    let old = attempt.check(&app, current_password).await?;
    let hash = login::hash(&app, &cx, new_password).await?;
    let keep = caller.key;
    let done = once.finish(&app, move |tx, _cx, _secret| {
        attempt.forgive(tx)?;
        users::change_password(tx, &old, &hash, Some(&keep))?;
        Ok(Reply::done())
    });
    let done = done.await?;
    app.sessions.forget_all(user);
    tracing::info!(user = user.get(), "changed the password");
    Ok(done.respond())
}

async fn one(
    State(app): State<App>,
    _caller: Caller<Read>,
    Id(id): Id<UserId>,
) -> Result<Json<Person>, Error> {
    let found = app.db.read(move |tx| users::person(tx, id)).await?;
    let person = found.ok_or_else(|| Error::new(Code::NotFound, "there is no such user"))?;
    Ok(Json(person.into()))
}
