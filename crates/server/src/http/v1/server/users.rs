//! `/v1/server/users`: the users of the app, one by one, listed by their changes, erased, linked.

use axum::http::header::LOCATION;
use domain::text::ExternalId;
use domain::users::{self, AcceptFrom, AppUser, Logins, Put, PutStatus};
use domain::{Time, UserRef, audit};

use super::user_fields::UserFields;
use crate::http::server_key::Users;
use crate::http::v1::field_types::{ChangeCursor, Limit, SentMessages, view_schema};
use crate::http::v1::prelude::*;

pub(super) fn api(api: Api) -> Api {
    api.on("PUT /v1/server/users/{ref}", "putUser", "Creates or changes a user", put)
        .answers::<PutUserView>(200, "The user as they are now.")
        .answers::<PutUserView>(201, "The user, who was created.")
        .header("Location", "The path of the user.")
        .leads_to(&["getUser"], "id", "/id")
        .errors(&[Code::UsernameTaken, Code::UserErased, Code::NameReserved])
        .on("GET /v1/server/users/{ref}", "getAppUser", "Reads everything about a user", one)
        .answers::<WholeUserView>(200, "The user.")
        .errors(&[Code::UserErased])
        .on("GET /v1/server/users", "listUsers", "Lists users by their last change", list)
        .answers_page::<AppUserView>("A page, ascending by change. Erased users are not listed.")
        .on("DELETE /v1/server/users/{ref}", "eraseUser", "Erases a user", erase)
        .accepted("The user is erased now; mailboxes are emptied in the background.")
        .on(
            "POST /v1/server/users/{ref}/link",
            "linkUser",
            "Gives an account that registered itself to the app",
            link,
        )
        .answers::<AppUserView>(
            200,
            "The user. Nothing is stored for an Idempotency-Key, as repeating it is harmless.",
        )
        .errors(&[Code::ExternalIdTaken, Code::AlreadyLinked, Code::UserErased])
}

/// A user as the app's own server sees them.
#[derive(Serialize, ToSchema)]
#[schema(as = AppUser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of the user")]
struct AppUserView {
    #[serde(flatten)]
    #[schema(inline)]
    person: PersonView,
    #[schema(required, format = IdnEmail, example = "dana@example.org")]
    email: Option<String>,
    /// Whether the account is enabled.
    active: bool,
    #[schema(required, format = DateTime)]
    deactivated_at: Option<String>,
    /// Whether the user can sign in by a password; the app's users need none.
    has_password: bool,
    #[schema(schema_with = view_schema::<AcceptFrom>)]
    accept_from: &'static str,
    reminders: bool,
    /// Whether look-ups find the user.
    findable: bool,
    /// The app's own version that was last taken.
    #[schema(required, example = 17)]
    version: Option<i64>,
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    created_at: String,
    /// When something of this last changed, but for `unread`.
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    updated_at: String,
    #[schema(inline)]
    unread: UnreadView,
}

/// What is unread in the inbox.
#[derive(Serialize, ToSchema)]
struct UnreadView {
    messages: i64,
    conversations: i64,
}

impl From<AppUser> for AppUserView {
    fn from(user: AppUser) -> Self {
        Self {
            person: user.person.into(),
            email: user.email,
            active: user.disabled_at.is_none(),
            deactivated_at: user.disabled_at.map(clock::rfc3339),
            has_password: user.has_password,
            accept_from: user.accept_from.name(),
            reminders: user.reminders,
            findable: user.findable,
            version: user.version,
            created_at: clock::rfc3339(user.created_at),
            updated_at: clock::rfc3339(user.updated_at),
            unread: UnreadView {
                messages: user.unread_messages,
                conversations: user.unread_conversations,
            },
        }
    }
}

/// A user, and what became of what the app said of them.
#[derive(Serialize, ToSchema)]
#[schema(as = PutUser)]
struct PutUserView {
    #[serde(flatten)]
    #[schema(inline)]
    user: AppUserView,
    /// The fields that are kept in another form than the app sent: `display_name` if it was cut.
    #[schema(example = json!(["display_name"]))]
    changed: Vec<&'static str>,
    /// Whether an older version was sent than the one that was last taken, so that nothing changed.
    stale: bool,
}

/// A user with all counts.
#[derive(Serialize, ToSchema)]
#[schema(as = WholeAppUser)]
struct WholeUserView {
    #[serde(flatten)]
    #[schema(inline)]
    user: AppUserView,
    sessions: i64,
    /// Tokens of programs.
    tokens: i64,
    /// When a session or such a token was last used, to about a minute.
    #[schema(required, format = DateTime)]
    last_seen_at: Option<String>,
}

async fn put(
    caller: ServerCaller<Users>,
    State(app): State<App>,
    PathRef(user): PathRef,
    JsonBody(fields): JsonBody<UserFields>,
) -> Result<Response, Error> {
    fields.confirm_scope(&caller.key)?;
    let (change, changed) = fields.split();
    let (cx, put) = (app.clock.cx(), Put { user, change });
    let done = app.db.of(caller.key.id).write(move |tx| {
        let done = users::put(tx, &cx, &put)?;
        if let (user, PutStatus::Created | PutStatus::Updated) = &done {
            audit::record(tx, &cx, &caller.call, Some(user.person.id))?;
        }
        Ok::<_, domain::Error>(done)
    });
    let (user, done) = done.await?;
    let id = user.person.id.get();
    let stale = done == PutStatus::Stale;
    let view = Json(PutUserView { user: user.into(), changed, stale });
    Ok(match done {
        PutStatus::Created => {
            let location = [(LOCATION, format!("/v1/server/users/{id}"))];
            (StatusCode::CREATED, location, view).into_response()
        }
        PutStatus::Updated | PutStatus::Unchanged | PutStatus::Stale => view.into_response(),
    })
}

async fn one(
    caller: ServerCaller<Users>,
    State(app): State<App>,
    PathRef(of): PathRef,
) -> Result<Json<WholeUserView>, Error> {
    let cx = app.clock.cx();
    let read = app.db.of(caller.key.id).read(move |tx| {
        let id = found(tx, &cx, &of)?;
        let user = users::app_user(tx, id)?.ok_or(domain::Error::UnknownUser)?;
        Ok::<_, domain::Error>((user, users::logins(tx, id)?))
    });
    let (user, Logins { sessions, tokens, last_seen_at }) = read.await?;
    let last_seen_at = last_seen_at.map(clock::rfc3339);
    Ok(Json(WholeUserView { user: user.into(), sessions, tokens, last_seen_at }))
}

/// The user of a ref.
pub(in crate::http::v1) fn found(tx: &mut Tx<'_>, cx: &Cx, of: &UserRef) -> domain::Result<UserId> {
    match users::resolve(tx, of)? {
        Some(id) => Ok(id),
        None if users::is_erased(tx, cx, of)? => Err(domain::Error::UserErased),
        None => Err(domain::Error::UnknownUser),
    }
}

fields! {
    struct UserList {
        /// Only users of whom something changed at that time or later. A change may be listed some
        /// seconds after its time: ask again for the last minute.
        optional updated_since: Time = "2026-11-22T00:00:00Z";
        /// Only users who are active, or who are not.
        optional active: bool;
        /// How many users a page may have; more than 1,000 are 1,000.
        or_default limit: Limit<1000> = 500;
        /// The `next_cursor` of the page before, with all other parameters unchanged.
        optional cursor: ChangeCursor;
    }
}

async fn list(
    caller: ServerCaller<Users>,
    State(app): State<App>,
    QueryParams(UserList { updated_since, active, limit, cursor }): QueryParams<UserList>,
) -> Result<Json<ListPage<AppUserView>>, Error> {
    let since = updated_since.unwrap_or(Time(0)).plus(-1);
    let after = cursor.map_or((since, i64::MAX), |ChangeCursor(at, user)| (at, user));
    let one_more = i64::from(limit.0) + 1;
    let limit = usize::from(limit.0);
    let mut found = app
        .db
        .of(caller.key.id)
        .scan(move |tx| users::changed_since(tx, after, active, one_more))
        .await?;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let next = found
        .last()
        .filter(|_| !is_last)
        .map(|last| ChangeCursor(last.updated_at, last.person.id.get()).encode());
    Ok(ListPage::up_to(found.into_iter().map(AppUserView::from).collect(), next))
}

fields! {
    struct Erasing {
        /// What happens to the messages that the user sent: others keep them as messages of
        /// "deleted user", or they are withdrawn from every mailbox, read or not.
        or_default messages: SentMessages = "withdraw";
    }
}

async fn erase(
    caller: ServerCaller<Users>,
    State(app): State<App>,
    PathRef(of): PathRef,
    QueryParams(Erasing { messages }): QueryParams<Erasing>,
) -> Result<StatusCode, Error> {
    let cx = app.clock.cx();
    let erased = app.db.of(caller.key.id).write_for(Purpose::Free, move |tx| {
        let id = match found(tx, &cx, &of) {
            // Repeating it is success.
            Err(domain::Error::UserErased) => return Ok(None),
            found => found?,
        };
        match messages {
            SentMessages::Keep => users::erase(tx, &cx, id)?,
            SentMessages::Withdraw => users::erase_and_withdraw(tx, &cx, id)?,
        }
        audit::record(tx, &cx, &caller.call, Some(id))?;
        Ok::<_, domain::Error>(Some(id))
    });
    if let Some(user) = erased.await? {
        app.sessions.forget_all(user);
        let (key, user) = (caller.key.id.get(), user.get());
        tracing::info!(key, user, ?messages, "erased a user for the app");
    }
    Ok(StatusCode::ACCEPTED)
}

fields! {
    /// The external id of an account.
    struct UserLink {
        /// The app's own id of the user, without `ext:`.
        required external_id: ExternalId = "42";
        /// Whether the account's password, sessions and tokens end; `true` if left out.
        optional end_logins: bool;
    }
}

async fn link(
    caller: ServerCaller<Users>,
    State(app): State<App>,
    PathRef(of): PathRef,
    // Repeating it is harmless, so nothing is stored for its key.
    KeyedBody(UserLink { external_id, end_logins }, _request): KeyedBody<UserLink>,
) -> Result<Json<AppUserView>, Error> {
    let (cx, end_logins) = (app.clock.cx(), end_logins.unwrap_or(true));
    let linked = app.db.of(caller.key.id).write(move |tx| {
        let id = found(tx, &cx, &of)?;
        if users::link(tx, &cx, id, &external_id, end_logins)? {
            audit::record(tx, &cx, &caller.call, Some(id))?;
        }
        users::app_user(tx, id)?.ok_or(domain::Error::UnknownUser)
    });
    let user = linked.await?;
    app.sessions.forget_all(user.person.id);
    Ok(Json(user.into()))
}
