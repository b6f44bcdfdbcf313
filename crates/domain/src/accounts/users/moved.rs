//! Accounts that come from elsewhere, as they were there.

use std::collections::{HashMap, HashSet};

use db::{Row, Tx, params};

use super::people::Kind;
use super::{
    AcceptFrom, NO_REPLIES, Put, PutStatus, UserChange, lookup, put_all, set_moved_password,
};
use crate::accounts::passwords::MovedHash;
use crate::base::text::{DisplayName, Email, ExternalId, Username};
use crate::base::{Cx, Result, Time, UserId, UserRef};

/// An account as it moves. What is not said of it is for a new one as for everybody, and stays for
/// one that is here.
#[derive(Debug, Clone, Default)]
pub struct MovedUser {
    /// Its id there. It keeps it where nobody has it here.
    pub id: Option<UserId>,
    /// The app's own id.
    pub external_id: Option<ExternalId>,
    /// The username; without one, it gets a generated one.
    pub username: Option<Username>,
    /// A person or a system user.
    pub kind: Kind,
    /// Whether a system user takes replies.
    pub replies: bool,
    /// The display name.
    pub display_name: Option<DisplayName>,
    /// The e-mail address.
    pub email: Option<Email>,
    /// When it was created; now where that is not known.
    pub created_at: Option<Time>,
    /// Whether its user can sign in.
    pub is_active: Option<bool>,
    /// Only the stub is left of it.
    pub is_erased: bool,
    /// Whether look-ups find it.
    pub findable: Option<bool>,
    /// Who may write to it.
    pub accept_from: Option<AcceptFrom>,
    /// Whether it is reminded by e-mail.
    pub reminders: Option<bool>,
    /// The app's version of it.
    pub version: Option<i64>,
    /// Its password.
    pub password: Option<MovedHash>,
}

/// Whom an account that moves is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nobody: it is new.
    New,
    /// This user.
    Here(UserId),
    /// Somebody else has its username, or, where it is erased, its id.
    Taken(&'static str),
}

/// Whom accounts that move are here, in their order.
pub fn find_moved(tx: &mut Tx<'_>, users: &[&MovedUser]) -> Result<Vec<Found>> {
    let pair = |row: &Row<'_>| Ok((row.text(1)?.to_owned(), UserId::stored(row.int(0)?)));
    let texts: Vec<String> = users.iter().filter_map(|user| external(user)).collect();
    let mut by_external = HashMap::new();
    if !texts.is_empty() {
        by_external.extend(tx.query(
            "SELECT id, external_id FROM users WHERE external_id IN rarray(?1)",
            &params![&*texts],
            pair,
        )?);
    }
    let names: Vec<String> = users.iter().filter_map(|user| folded(user)).collect();
    let by_name: HashMap<_, _> = tx
        .query(
            "SELECT id, name_folded FROM users WHERE name_folded IN rarray(?1)",
            &params![&*names],
            pair,
        )?
        .into_iter()
        .collect();
    let ids: Vec<i64> = users.iter().filter_map(|user| user.id).map(UserId::get).collect();
    let by_id: HashMap<_, _> = tx
        .query("SELECT id, erased_at FROM users WHERE id IN rarray(?1)", &params![&*ids], |row| {
            Ok((UserId::stored(row.int(0)?), row.opt_int(1)?.is_some()))
        })?
        .into_iter()
        .collect();
    let found = users.iter().map(|user| {
        if user.is_erased {
            return match user.id.and_then(|id| by_id.get(&id).map(|erased| (id, *erased))) {
                None => Found::New,
                Some((id, true)) => Found::Here(id),
                Some(_) => Found::Taken("id"),
            };
        }
        let one = external(user).and_then(|id| by_external.get(&id).copied());
        let other = folded(user).and_then(|name| by_name.get(&name).copied());
        match (one, other) {
            (Some(one), Some(other)) if one != other => Found::Taken("username"),
            (Some(one), _) => Found::Here(one),
            (None, Some(_)) if user.external_id.is_some() => Found::Taken("username"),
            (None, Some(other)) => Found::Here(other),
            (None, None) => Found::New,
        }
    });
    Ok(found.collect())
}

fn external(user: &MovedUser) -> Option<String> {
    user.external_id.as_ref().map(|id| id.as_str().to_owned())
}

fn folded(user: &MovedUser) -> Option<String> {
    user.username.as_ref().map(|name| name.folded().to_owned())
}

/// The highest id that a user has, or 0.
pub fn highest_id(tx: &mut Tx<'_>) -> Result<i64> {
    let highest = tx.query_opt(
        "SELECT id FROM users WHERE id > 0 ORDER BY id DESC LIMIT 1",
        &params![],
        |row| row.int(0),
    )?;
    Ok(highest.unwrap_or(0))
}

/// Creates accounts that are nobody's here, with empty mailboxes. One without an id that is free
/// gets one above `above`. Returns their ids, in their order. Nobody is told of them.
pub fn insert_moved(
    tx: &mut Tx<'_>,
    cx: &Cx,
    users: &[&MovedUser],
    above: i64,
) -> Result<Vec<UserId>> {
    let wanted: Vec<i64> = users.iter().filter_map(|user| user.id).map(UserId::get).collect();
    let taken =
        tx.query("SELECT id FROM users WHERE id IN rarray(?1)", &params![&*wanted], |row| {
            row.int(0)
        })?;
    let taken: HashSet<i64> = taken.into_iter().collect();
    let mut next = above.max(highest_id(tx)?);
    let ids = users.iter().map(|user| {
        let kept = user.id.filter(|id| !taken.contains(&id.get()));
        kept.unwrap_or_else(|| {
            next += 1;
            UserId::stored(next)
        })
    });
    let ids: Vec<UserId> = ids.collect();
    let rows: Vec<Named<'_>> =
        users.iter().zip(&ids).map(|(user, id)| Named::of(user, *id)).collect();
    insert_rows(tx, cx, &rows)?;
    let mailboxes: Vec<_> = rows
        .iter()
        .map(|Named { user, id, .. }| {
            let accepts = user.accepts();
            params![*id, accepts, user.disabled_at(cx)]
        })
        .collect();
    tx.batch(
        "INSERT INTO mailboxes (owner_id, modseq, accept_from, closed_at) VALUES (?1, 0, ?2, ?3)",
        &mailboxes,
    )?;
    let seen = rows.iter().filter(|row| !row.user.is_erased);
    let words: Vec<_> = seen.map(|row| (row.id, &*row.name, row.display().0)).collect();
    lookup::add_words(tx, &words)?;
    // SQLite knows by itself which ids were given.
    let highest = ids.iter().max().map_or(0, |id| id.get());
    tx.lock(
        "SELECT setval(pg_get_serial_sequence('users', 'id'), greatest(?1, coalesce(
             pg_sequence_last_value(pg_get_serial_sequence('users', 'id')::regclass), 0)))",
        &params![highest],
    )?;
    Ok(ids)
}

/// A user with the names of the row.
struct Named<'u> {
    user: &'u MovedUser,
    id: UserId,
    name: String,
    folded: String,
}

impl<'u> Named<'u> {
    fn of(user: &'u MovedUser, id: UserId) -> Self {
        let generated = Username::generated(id);
        let name = user.username.as_ref().unwrap_or(&generated);
        let (name, folded) = if user.is_erased {
            // As an erasure leaves it.
            (String::new(), format!("#{}", id.get()))
        } else {
            (name.shown().to_owned(), name.folded().to_owned())
        };
        Self { user, id, name, folded }
    }

    fn display(&self) -> (&str, &str) {
        let name = self.user.display_name.as_ref();
        name.map_or(("", ""), |name| (name.shown(), name.folded()))
    }
}

impl MovedUser {
    /// What it says of an account that is here.
    fn put(&self, id: UserId) -> Put {
        let change = UserChange {
            display_name: self.display_name.clone().map(Some),
            email: self.email.clone().map(Some),
            active: self.is_active,
            accept_from: self.accept_from.map(Some),
            reminders: self.reminders.map(Some),
            findable: self.findable.map(Some),
            version: self.version.map(Some),
            ..UserChange::default()
        };
        Put { user: UserRef::Id(id), change }
    }

    /// Whom its mailbox takes messages from, as it is stored.
    fn accepts(&self) -> i64 {
        match self.kind {
            _ if self.is_erased => AcceptFrom::Everyone as i64,
            Kind::Person => self.accept_from.unwrap_or(AcceptFrom::Everyone) as i64,
            Kind::System if self.replies => AcceptFrom::Everyone as i64,
            Kind::System => NO_REPLIES,
        }
    }

    fn disabled_at(&self, cx: &Cx) -> Option<Time> {
        (self.is_active == Some(false) || self.is_erased).then_some(cx.now)
    }
}

fn insert_rows(tx: &mut Tx<'_>, cx: &Cx, users: &[Named<'_>]) -> Result<()> {
    let rows: Vec<_> = users
        .iter()
        .map(|named| {
            let (user, (shown, looks)) = (named.user, named.display());
            params![
                named.id,
                named.name.as_str(),
                named.folded.as_str(),
                shown,
                looks,
                user.email.as_ref().map_or("", Email::as_str),
                user.password.as_ref().map_or("", MovedHash::as_str),
                user.password.as_ref().map_or(0, MovedHash::wait),
                user.created_at.unwrap_or(cx.now),
                cx.now,
                user.external_id.as_ref().map(ExternalId::as_str),
                user.disabled_at(cx),
                user.is_erased.then_some(cx.now),
                (user.reminders == Some(false)).then_some(cx.now),
                user.findable.unwrap_or(true),
                user.version,
                user.kind as i64
            ]
        })
        .collect();
    tx.batch(
        "INSERT INTO users (id, name, name_folded, display_name, display_folded, words_of, email,
             password_hash, password_wait, created_at, updated_at, external_id, disabled_at,
             erased_at, reminders_off_at, findable, app_version, kind)
         VALUES (?1, ?2, ?3, ?4, ?5, ?2 || ' ' || ?4, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
             ?15, ?16, ?17)",
        &rows,
    )?;
    Ok(())
}

/// Makes accounts what their lines say of them, as if the app's server had said it: with an older
/// version than the one that was last taken, nothing changes. What a line does not say stays, and
/// so do the username and the kind; a password is set only where there is none. System users and
/// erased accounts stay as they are.
///
/// # Errors
/// [`Error::NameReserved`](crate::Error::NameReserved) where a system user is called so.
pub fn update_moved(tx: &mut Tx<'_>, cx: &Cx, users: &[(UserId, &MovedUser)]) -> Result<()> {
    let users = users.iter().filter(|(_, user)| !user.is_erased && user.kind == Kind::Person);
    let users: Vec<_> = users.collect();
    let puts: Vec<_> = users.iter().map(|(id, user)| user.put(*id)).collect();
    for ((id, user), done) in users.iter().zip(put_all(tx, cx, &puts)?) {
        let (here, status) = done?;
        let takes_password = here.person.kind == Kind::Person && !here.has_password;
        if let Some(password) = &user.password
            && takes_password
            && status != PutStatus::Stale
        {
            set_moved_password(tx, *id, password)?;
        }
    }
    Ok(())
}
