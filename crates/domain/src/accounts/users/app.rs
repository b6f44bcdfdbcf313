//! Users as the app's own server sees them, one by one and in the order of their changes.

use db::{Row, Tx, params};

use super::people::Person;
use super::profile::AcceptFrom;
use crate::base::{Result, Time, UserId};

/// A user as the app's own server sees them: everything but what they have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppUser {
    /// The user as everybody sees them.
    pub person: Person,
    /// The e-mail address, if they have one.
    pub email: Option<String>,
    /// Whether they can sign in by a password.
    pub has_password: bool,
    /// Who may write to them.
    pub accept_from: AcceptFrom,
    /// Whether they are reminded by e-mail of unread messages.
    pub reminders: bool,
    /// Whether look-ups find them.
    pub findable: bool,
    /// The version of the app's own that was last taken.
    pub version: Option<i64>,
    /// When the account was created.
    pub created_at: Time,
    /// When something of this last changed, but for the counts.
    pub updated_at: Time,
    /// When the account was disabled.
    pub disabled_at: Option<Time>,
    /// How many messages are unread in the inbox.
    pub unread_messages: i64,
    /// In how many conversations.
    pub unread_conversations: i64,
}

impl AppUser {
    /// From the columns of [`select!`].
    pub(super) fn read(row: &Row<'_>) -> db::Result<Self> {
        Ok(Self {
            person: Person::read(row)?,
            email: Some(row.text(5)?.to_owned()).filter(|email| !email.is_empty()),
            has_password: row.flag(6)?,
            accept_from: AcceptFrom::stored(7, row.int(7)?)?,
            reminders: row.opt_int(8)?.is_none(),
            findable: row.int(9)? != 0,
            version: row.opt_int(10)?,
            created_at: Time(row.int(11)?),
            updated_at: Time(row.int(12)?),
            disabled_at: row.opt_int(13)?.map(Time),
            unread_messages: row.int(14)?,
            unread_conversations: row.int(15)?,
        })
    }
}

/// A statement that reads whole users.
macro_rules! select {
    ($condition:literal) => {
        $crate::accounts::users::app::select!("", $condition)
    };
    ($further_columns:literal, $condition:literal) => {
        concat!(
            "SELECT ",
            $crate::accounts::users::person_columns!(),
            ", email, password_hash <> '', accept_from, reminders_off_at, findable, app_version,
             created_at, updated_at, disabled_at, unread, unread_conversations",
            $further_columns,
            " FROM users JOIN mailboxes ON mailboxes.owner_id = users.id WHERE ",
            $condition
        )
    };
}
pub(super) use select;

/// A user; `None` where there is none with that id, or they are erased.
pub fn app_user(tx: &mut Tx<'_>, id: UserId) -> Result<Option<AppUser>> {
    let sql = select!("users.id = ?1 AND erased_at IS NULL");
    Ok(tx.query_opt(sql, &params![id], AppUser::read)?)
}

/// By what a user can call now, and when they last did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Logins {
    /// Sessions, with those that have expired and were not removed yet.
    pub sessions: i64,
    /// Tokens of programs, likewise.
    pub tokens: i64,
    /// When one of them was last used, to the precision of their `last_seen_at`.
    pub last_seen_at: Option<Time>,
}

/// The logins of a user.
pub fn logins(tx: &mut Tx<'_>, user: UserId) -> Result<Logins> {
    let mut counts =
        |sql| tx.query_one(sql, &params![user], |row| Ok((row.int(0)?, row.opt_int(1)?.map(Time))));
    let (sessions, in_session) =
        counts("SELECT count(*), max(last_seen_at) FROM sessions WHERE user_id = ?1")?;
    let (tokens, by_token) =
        counts("SELECT count(*), max(last_used_at) FROM tokens WHERE user_id = ?1")?;
    Ok(Logins { sessions, tokens, last_seen_at: in_session.max(by_token) })
}

/// Up to `limit` users who are not erased, ascending by their last change, after a change and the
/// user of it; all of them, or only those who are enabled, or disabled.
///
/// A change gets its time before its turn: ask again for the last minute, or one that was late is
/// missed.
pub fn changed_since(
    tx: &mut Tx<'_>,
    (changed_at, user): (Time, i64),
    active: Option<bool>,
    limit: i64,
) -> Result<Vec<AppUser>> {
    let mut found = Vec::new();
    let (enabled, disabled) = (active != Some(false), active != Some(true));
    for (wanted, same_time, later) in [
        (
            enabled,
            select!(
                "updated_at = ?1 AND id > ?2 AND coalesce(disabled_at, 0) = 0 ORDER BY id LIMIT ?3"
            ),
            select!(
                "updated_at > ?1 AND coalesce(disabled_at, 0) = 0
                 ORDER BY updated_at, users.id LIMIT ?2"
            ),
        ),
        (
            disabled,
            select!(
                "updated_at = ?1 AND id > ?2 AND coalesce(disabled_at, 0) <> 0
                 AND erased_at IS NULL ORDER BY id LIMIT ?3"
            ),
            select!(
                "updated_at > ?1 AND coalesce(disabled_at, 0) <> 0 AND erased_at IS NULL
                 ORDER BY updated_at, users.id LIMIT ?2"
            ),
        ),
    ] {
        if wanted {
            found.extend(tx.query(same_time, &params![changed_at, user, limit], AppUser::read)?);
            found.extend(tx.query(later, &params![changed_at, limit], AppUser::read)?);
        }
    }
    found.sort_by_key(|user| (user.updated_at, user.person.id));
    found.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(found)
}
