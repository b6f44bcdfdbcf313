//! What an app says of system users, and of names that are theirs.

use std::collections::HashSet;

use db::{Tx, params};

use super::super::people::{ERASED, Kind};
use super::super::{AcceptFrom, NO_REPLIES};
use super::change::UserChange;
use crate::base::text::{DisplayName, Username, fold_look};
use crate::base::{Invalid, Result};

impl UserChange {
    /// The kind of a user who is created, and whether a system user takes replies.
    ///
    /// # Errors
    /// Where a person is said to take replies or not.
    pub(super) fn new_kind(&self) -> Result<(Kind, bool)> {
        let kind = self.kind.unwrap_or_default();
        self.confirm_kind(kind)?;
        Ok((kind, self.replies.unwrap_or(false)))
    }

    /// The names that are said, as they are compared, with their fields.
    pub(super) fn folded_names(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let username = self.username.as_ref().and_then(Option::as_ref).map(Username::folded);
        let shown = self.display_name.as_ref().and_then(Option::as_ref).map(DisplayName::folded);
        let names =
            [username.map(|name| ("username", name)), shown.map(|name| ("display_name", name))];
        names.into_iter().flatten()
    }

    /// Makes sure that what is said fits to a user of this kind.
    pub(super) fn confirm_kind(&self, kind: Kind) -> Result<()> {
        if self.kind.is_some_and(|said| said != kind) {
            let problem = "it is set when the user is created, and never changes";
            return Err(Invalid::new("kind", problem).into());
        }
        if self.replies.is_some() && kind == Kind::Person {
            return Err(Invalid::new("replies", "only a system user has it").into());
        }
        Ok(())
    }
}

/// What a mailbox accepts, as it is stored.
pub(super) fn stored(kind: Kind, accept_from: AcceptFrom) -> i64 {
    match (kind, accept_from) {
        (Kind::System, AcceptFrom::Nobody) => NO_REPLIES,
        (_, accept_from) => accept_from as i64,
    }
}

/// Those of some folded names that no person can take: those of system users, which it finds in one
/// statement, and of erased ones. An empty name is nobody's:
/// system users without a display name, and erased ones, have it.
pub(super) fn reserved(tx: &mut Tx<'_>, names: &[String]) -> Result<HashSet<String>> {
    let names: Vec<_> = names.iter().filter(|name| !name.is_empty()).cloned().collect();
    if names.is_empty() {
        return Ok(HashSet::new());
    }
    let found = tx.query(
        "SELECT display_folded, kind FROM users
         WHERE display_folded IN rarray(?1) AND kind = 1
         UNION ALL SELECT name_folded, kind FROM users
         WHERE name_folded IN rarray(?1)",
        &params![&*names],
        |row| Ok((row.text(0)?.to_owned(), Kind::stored(1, row.int(1)?)?)),
    )?;
    let theirs = found.into_iter().filter(|(_, kind)| *kind == Kind::System);
    let erased = fold_look(ERASED);
    let of_erased = names.into_iter().filter(|name| *name == erased);
    Ok(theirs.map(|(name, _)| name).chain(of_erased).collect())
}
