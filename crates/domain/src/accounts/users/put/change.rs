//! What an app says of a user, and what became of it.

use db::Tx;

use super::super::people::Kind;
use super::super::{AcceptFrom, AppUser, is_erased};
use crate::base::text::{DisplayName, Email, Username};
use crate::base::{Cx, Error, Result, UserRef};

/// What an app says of a user; fields that are left out stay as they are, and those that are
/// cleared (`Some(None)`) are as for a new user.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// The username; a user without one gets `user-` and the id.
    pub username: Option<Option<Username>>,
    /// The display name.
    pub display_name: Option<Option<DisplayName>>,
    /// The e-mail address; a user needs none.
    pub email: Option<Option<Email>>,
    /// Whether the account is enabled.
    pub active: Option<bool>,
    /// Who may write to the user; everyone at first. System users keep theirs.
    pub accept_from: Option<Option<AcceptFrom>>,
    /// Whether the user is reminded by e-mail; so at first.
    pub reminders: Option<Option<bool>>,
    /// Whether look-ups find the user; so at first.
    pub findable: Option<Option<bool>>,
    /// The app's own version of all this: with an older one than before, nothing changes.
    pub version: Option<Option<i64>>,
    /// The kind, which is set when the user is created and never changes; a person where it is left
    /// out.
    pub kind: Option<Kind>,
    /// Whether a system user takes replies; at first not.
    pub replies: Option<bool>,
    /// Whether to create the user where one of this external id was erased.
    pub recreate: bool,
}

/// A user and what the app says of them.
#[derive(Debug, Clone)]
pub struct Put {
    /// The user; an external id that is nobody's creates one.
    pub user: UserRef,
    /// What is said of them.
    pub change: UserChange,
}

impl Put {
    /// Whether it creates a user where that of its external id was erased.
    pub(super) fn recreates(&self) -> bool {
        self.change.recreate && matches!(self.user, UserRef::External(_))
    }
}

/// What a [`Put`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutStatus {
    /// It created the user.
    Created,
    /// It changed the user.
    Updated,
    /// The user was as it says.
    Unchanged,
    /// It has an older version than the one that was last taken, and changed nothing.
    Stale,
}

/// The user as they are now, and what was done.
pub(super) type Done = (AppUser, PutStatus);

/// Why there is no user of a ref, and none was created.
pub(super) fn missing(tx: &mut Tx<'_>, cx: &Cx, put: &Put) -> Result<Error> {
    Ok(match &put.user {
        UserRef::External(_) if put.change.recreate => Error::NameTaken,
        of if is_erased(tx, cx, of)? => Error::UserErased,
        UserRef::External(_) => Error::NameTaken,
        UserRef::Id(_) | UserRef::Name(_) => Error::UnknownUser,
    })
}
