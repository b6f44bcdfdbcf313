//! `/v1/users`: registering, the caller's account, finding other users.

use axum::Extension;
use axum::http::header::{LOCATION, SET_COOKIE};
use domain::Invalid;
use domain::passwords::Password;
use domain::text::{DisplayName, Email, Username};
use domain::users::{self, AcceptFrom, Person, Profile, ProfileChange, Proof};

use super::field_types::{EnteredPassword, UsernamePrefix, view_schema};
use super::idempotency::{Created, created, is_replay};
use super::prelude::*;
use crate::config::Lookup;
use crate::http::login::{self, Claimant};
use crate::http::{acting, cookies};

pub(super) fn api(api: Api) -> Api {
    api.tag("Users", "Accounts, profiles, and finding users.")
        .on("POST /v1/users", "createUser", "Registers an account", register)
        .answers::<AccountView>(201, "The new account.")
        .header("Location", "The path of the public profile.")
        .leads_to(&["getUser"], "id", "/id")
        .leads_to(&["block", "unblock"], "user", "/id")
        .errors(&[Code::RegistrationClosed, Code::UsernameTaken, Code::RateLimited])
        .errors(&[Code::NameReserved])
        .on("GET /v1/users", "findUsers", "Finds users by a name", find)
        .answers_page::<PersonView>("Up to 20 users, the best match first.")
        .errors(&[Code::QuotaExceeded])
        .on("GET /v1/users/me", "getMe", "Reads the caller's account", own)
        .answers::<AccountView>(200, "The account.")
        .on("PATCH /v1/users/me", "changeMe", "Changes the caller's account", change)
        .answers::<AccountView>(200, "The changed account.")
        .errors(&[Code::NotByKey, Code::NameReserved])
        .on("DELETE /v1/users/me", "eraseMe", "Erases the caller's account", erase)
        .done("The account is gone with its mailbox, sessions and tokens; sent messages stay.")
        .header("Set-Cookie", "Removes the cookie `sessionid`.")
        .errors(&[Code::FreshLoginRequired, Code::AuthenticationFailed, Code::RateLimited])
        .on("POST /v1/users/me/password", "changePassword", "Changes the password", password)
        .done("The password is changed; all other sessions and all tokens have ended.")
        .errors(&[Code::AuthenticationFailed, Code::RateLimited])
        .on("GET /v1/users/{id}", "getUser", "Reads a public profile", one)
        .answers::<PersonView>(200, "The user; one whose account was erased is \"deleted user\".")
        .errors(&[Code::QuotaExceeded])
}

/// An account as its owner sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
struct AccountView {
    #[serde(flatten)]
    #[schema(inline)]
    person: PersonView,
    /// Null where the account has none.
    #[schema(required, format = IdnEmail, example = "dana@example.org")]
    email: Option<String>,
    #[schema(schema_with = view_schema::<AcceptFrom>)]
    accept_from: &'static str,
    /// Whether the owner gets e-mails about unread messages, if the server sends them.
    reminders: bool,
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    created_at: String,
}

impl From<Profile> for AccountView {
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

fields! {
    /// The account to create.
    struct NewUser {
        /// Letters, digits and `@ . + - _`.
        required username: Username = "dana";
        required email: Email = "dana@example.org";
        /// 8 to 1024 bytes; common passwords are refused.
        required password: Password = "two-wild-geese";
        /// No control characters, and no space at the start or end.
        optional display_name: DisplayName = "Dana Deer";
    }
    check |reader| {
        if let Some(password) = &password {
            let email = email.as_ref().map_or("", Email::as_str);
            let own = password.is_not_own(username.as_ref(), email);
            reader.field("password").parsed(own);
        }
    }
}

async fn register(
    State(app): State<App>,
    _stranger: Stranger,
    device: Device,
    body: Result<KeyedBody<NewUser>, Error>,
) -> Result<Response, Error> {
    login::registration_is_open(&app)?;
    let KeyedBody(new, request) = match body {
        Ok(body) => body,
        Err(refusal) => return login::refuse_registration(&app, &device, refusal).await,
    };
    let NewUser { username, email, password, display_name } = new;
    let by = username.clone();
    let (name, shown) = (username.shown().to_owned(), display_name.as_ref());
    let shown = shown.map_or(username.shown(), DisplayName::shown).to_owned();
    let address = email.as_str().to_owned();
    let show = move |tx: &mut Tx<'_>, _cx: &Cx, kept: &KeptAccount, _secret: &[u8; 32]| {
        let Some(id) = UserId::new(kept.id) else { return Ok(None) };
        let Some(profile) = users::profile(tx, id)? else { return Ok(None) };
        // What the request says: the client that repeats it may not know the password of today.
        let profile = Profile {
            person: Person {
                username: name.clone(),
                display_name: shown.clone(),
                external_id: None,
                ..profile.person
            },
            email: Some(address.clone()),
            accept_from: AcceptFrom::Everyone,
            reminders: true,
            ..profile
        };
        let location = [(LOCATION, format!("/v1/users/{}", kept.id))];
        let account = Json(AccountView::from(profile));
        let created = Extension(Created { user: kept.id, id: kept.id });
        Ok(Some((StatusCode::CREATED, location, created, account).into_response()))
    };
    let prepare = async {
        let (cx, names) = (app.clock.cx(), (username.clone(), display_name.clone()));
        let hash = login::hash_to_register(&app, &cx, &device, names, password).await?;
        let limit = login::registrations(&app, &device);
        Ok(move |tx: &mut Tx<'_>, cx: &Cx, _secret: &[u8; 32]| {
            limit.count(tx, cx)?;
            let id = users::create(tx, cx, &username, display_name.as_ref(), &email, &hash)?;
            Ok(KeptAccount { id: id.get() })
        })
    };
    let done = request.run_after(&app, By::Name(by.folded(), device.address), prepare, show).await;
    if was_known(&done) {
        login::count_try(&app, &device).await?;
    }
    let response = done?;
    if let Some(Created { user, .. }) = created(&response) {
        tracing::info!(client = %device.address, user, "registered");
    }
    Ok(response)
}

/// Whether a request had a key that was used before. That tells whether its password is the one of
/// the first request, so it has to count as one that gives a password.
fn was_known(done: &Result<Response, Error>) -> bool {
    done.as_ref().map_or_else(|error| error.code() == Code::KeyReused, is_replay)
}

/// What is stored of a registration.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    id: i64,
}

fields! {
    struct NamePrefix {
        /// The start of the username, or of any word of the display name; case and accents do not
        /// count.
        required prefix: UsernamePrefix = "da";
    }
}

async fn find(
    State(app): State<App>,
    caller: Caller<Look>,
    QueryParams(NamePrefix { prefix }): QueryParams<NamePrefix>,
) -> Result<Json<ListPage<PersonView>>, Error> {
    let (prefix, line, caller) = (prefix.0, caller.line(), caller.user);
    app.count_lookups(caller, 1).await?;
    let found = match app.settings.lookup {
        Lookup::Everybody => {
            list_turns::take(line);
            app.db
                .of(caller)
                .read(move |tx| users::lookup(tx, &prefix, users::LOOKED_UP, None))
                .await?
        }
        Lookup::Contacts => {
            let among = Some(caller);
            let scan = move |tx: &mut Tx<'_>| users::lookup(tx, &prefix, users::LOOKED_UP, among);
            waits::wait(app.db.of(caller).scan(scan)).await?
        }
        Lookup::Off => vec![],
    };
    Ok(ListPage::new(found.into_iter().map(PersonView::from).collect(), None))
}

async fn own(State(app): State<App>, caller: Caller<Look>) -> Result<Json<AccountView>, Error> {
    let profile =
        app.db.of(caller.user).read_one(move |tx| users::profile(tx, caller.user)).await?;
    Ok(Json(profile.ok_or(domain::Error::NotLoggedIn)?.into()))
}

fields! {
    /// What to change in an account; fields that are left out stay as they are.
    for ProfileChange as "AccountChange" {
        /// No control characters, and no space at the start or end; null removes it.
        clearable display_name: DisplayName = "Dana Deer";
        change email: Email;
        change accept_from: AcceptFrom;
        /// Whether to get e-mails about unread messages.
        change reminders: bool;
    }
}

async fn change(
    State(app): State<App>,
    caller: Caller<Settings>,
    device: Device,
    JsonBody(change): JsonBody<ProfileChange>,
) -> Result<Json<AccountView>, Error> {
    let (cx, user, has_email) = (app.clock.cx(), caller.user, change.email.is_some());
    if has_email && caller.acting.is_some() {
        return Err(acting::not_by_key());
    }
    let changed = caller.write(&app, move |tx| {
        users::update(tx, &cx, user, &change)?;
        users::profile(tx, user)
    });
    let profile = changed.await?.ok_or(domain::Error::NotLoggedIn)?;
    if has_email {
        let user = caller.user.get();
        tracing::info!(client = %device.address, user, "set the e-mail address");
    }
    Ok(Json(profile.into()))
}

fields! {
    /// Shows that it is the owner who erases the account.
    struct Erasure {
        /// Needed unless the session or token was issued for a password within the last 10 minutes.
        optional password: EnteredPassword = "two-wild-geese";
    }
}

async fn erase(
    State(app): State<App>,
    device: Device,
    caller: Caller<Account>,
    JsonBody(Erasure { password }): JsonBody<Erasure>,
) -> Result<impl IntoResponse, Error> {
    let (cx, user) = (app.clock.cx(), caller.user);
    let (attempt, proof) = match password {
        Some(password) => {
            let claimant = Claimant::Holder(caller.key);
            let checked = login::check(&app, &cx, claimant, &device, password.0).await?;
            (Some(checked.1), Proof::Password(checked.0))
        }
        None => (None, Proof::Credential(caller.key)),
    };
    let erase = move |tx: &mut Tx<'_>| users::erase_own(tx, &cx, &proof);
    let erased = app.db.of(user).write_for(Purpose::Free, erase).await;
    if let (Err(error), Some(attempt)) = (&erased, attempt) {
        let error = Err::<(), _>(error.clone().into());
        drop(attempt.settle(&app, error).await);
    }
    app.sessions.forget_all(user);
    match erased {
        // Erased by another request in the meantime: the caller is no longer logged in.
        Err(domain::Error::UnknownUser) => return Err(domain::Error::NotLoggedIn.into()),
        erased => erased?,
    }
    tracing::info!(client = %device.address, user = user.get(), "erased the account");
    let cookie = cookies::no_session(device.secure);
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]))
}

fields! {
    /// The current and the new password.
    struct NewPassword {
        required current_password: EnteredPassword = "two-wild-geese";
        /// 8 to 1024 bytes; common passwords are refused.
        required new_password: Password = "three-wild-geese";
    }
}

async fn password(
    State(app): State<App>,
    caller: Caller<Account>,
    device: Device,
    KeyedBody(NewPassword { current_password, new_password }, request): KeyedBody<NewPassword>,
) -> Result<Response, Error> {
    let user = caller.user;
    let known = app.db.of(user).read_one(move |tx| users::profile(tx, user)).await?;
    let Profile { person, email, .. } = known.ok_or(domain::Error::NotLoggedIn)?;
    let email = email.unwrap_or_default();
    let name = Username::parse(&person.username).ok();
    if let Err(own) = new_password.is_not_own(name.as_ref(), &email) {
        return Err(Invalid::new("new_password", own.problem).into());
    }
    let (cx, mut attempt) = (app.clock.cx(), None);
    let claimant = Claimant::Holder(caller.key);
    let prepare = async {
        let current = current_password.0;
        let (old, right) = login::check(&app, &cx, claimant.clone(), &device, current).await?;
        attempt = Some(right.clone());
        let hash = login::hash(&app, &cx, &device, new_password).await?;
        Ok(move |tx: &mut Tx<'_>, cx: &Cx, _secret: &[u8; 32]| {
            users::change_password(tx, &old, &hash, Some(&caller.key))?;
            right.let_in(tx, cx)
        })
    };
    let show = |_tx: &mut Tx<'_>, _cx: &Cx, (): &(), _secret: &[u8; 32]| {
        Ok(Some(StatusCode::NO_CONTENT.into_response()))
    };
    let done = request.run_after(&app, caller.by(), prepare, show).await;
    let response = if let Some(attempt) = attempt {
        attempt.settle(&app, done).await?
    } else {
        if was_known(&done) {
            let again = login::begin(&app, &cx, claimant, &device).await?;
            if done.is_ok() {
                again.attempt.give_back(&app).await;
            }
        }
        done?
    };
    app.sessions.forget_all(user);
    if !is_replay(&response) {
        tracing::info!(client = %device.address, user = user.get(), "changed the password");
    }
    Ok(response)
}

async fn one(
    State(app): State<App>,
    caller: Caller<Look>,
    PathRef(of): PathRef,
) -> Result<Json<PersonView>, Error> {
    app.count_lookups(caller.user, 1).await?;
    let found = app.db.of(caller.user).read(move |tx| match users::id_of(tx, &of)? {
        Some(id) => users::person(tx, id),
        None => Ok(None),
    });
    let found = found.await?;
    let person = found.ok_or(domain::Error::NotFound(Missing::User))?;
    Ok(Json(person.into()))
}
