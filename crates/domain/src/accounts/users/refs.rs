//! Finding the users whom a request names.

use std::collections::HashMap;

use db::{Tx, params};

use crate::base::{Result, UserId, UserRef};

/// The user with that ref, disabled or not; `None` where there is none, or they are erased.
pub fn resolve(tx: &mut Tx<'_>, of: &UserRef) -> Result<Option<UserId>> {
    let (sql, value) = match of {
        UserRef::Id(id) => {
            ("SELECT id FROM users WHERE id = ?1 AND erased_at IS NULL", (*id).into())
        }
        UserRef::External(id) => {
            ("SELECT id FROM users WHERE external_id = ?1", id.as_str().into())
        }
        UserRef::Name(folded) => (
            "SELECT id FROM users WHERE name_folded = ?1 AND erased_at IS NULL",
            folded.as_str().into(),
        ),
    };
    Ok(tx.query_opt(sql, &[value], |row| Ok(UserId::stored(row.int(0)?)))?)
}

/// Whether anybody may act for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A person whose account is in use.
    Active,
    /// A person whose account is disabled.
    Deactivated,
    /// A sender of the app's, for whom nobody acts.
    System,
}

/// The same as [`resolve`], with the user's standing.
pub fn standing(tx: &mut Tx<'_>, of: &UserRef) -> Result<Option<(UserId, Standing)>> {
    let (sql, value) = match of {
        UserRef::Id(id) => (
            "SELECT id, kind, disabled_at FROM users WHERE id = ?1 AND erased_at IS NULL",
            (*id).into(),
        ),
        UserRef::External(id) => {
            ("SELECT id, kind, disabled_at FROM users WHERE external_id = ?1", id.as_str().into())
        }
        UserRef::Name(folded) => (
            "SELECT id, kind, disabled_at FROM users WHERE name_folded = ?1 AND erased_at IS NULL",
            folded.as_str().into(),
        ),
    };
    Ok(tx.query_opt(sql, &[value], |row| {
        let standing = match (row.int(1)?, row.opt_int(2)?) {
            (0, None) => Standing::Active,
            (0, Some(_)) => Standing::Deactivated,
            _ => Standing::System,
        };
        Ok((UserId::stored(row.int(0)?), standing))
    })?)
}

/// The same as [`resolve`] without a look at an id, which may be that of an erased user, or of
/// nobody.
pub fn id_of(tx: &mut Tx<'_>, of: &UserRef) -> Result<Option<UserId>> {
    if let UserRef::Id(id) = of { Ok(Some(*id)) } else { resolve(tx, of) }
}

/// The same as [`resolve`] for up to some thousand refs: one statement for each kind of them.
/// Returns as many as there are refs, in their order.
pub fn resolve_all(tx: &mut Tx<'_>, refs: &[UserRef]) -> Result<Vec<Option<UserId>>> {
    // A list costs SQLite a temporary table, and most messages go to one recipient.
    if let [one] = refs {
        return Ok(vec![resolve(tx, one)?]);
    }
    let (mut ids, mut external, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for of in refs {
        match of {
            UserRef::Id(id) => ids.push(id.get()),
            UserRef::External(id) => external.push(id.as_str().to_owned()),
            UserRef::Name(folded) => names.push(folded.clone()),
        }
    }
    let mut found: HashMap<String, UserId> = HashMap::new();
    if !ids.is_empty() {
        let known = tx.query(
            "SELECT id FROM users WHERE id IN rarray(?1)
             AND erased_at IS NULL",
            &params![&*ids],
            |row| Ok(UserId::stored(row.int(0)?)),
        )?;
        found.extend(known.into_iter().map(|id| (UserRef::Id(id).to_string(), id)));
    }
    for (kind, texts, sql) in [
        (
            "ext:",
            external,
            "SELECT id, external_id FROM users
             WHERE external_id IN rarray(?1)",
        ),
        (
            "name:",
            names,
            "SELECT id, name_folded FROM users
             WHERE name_folded IN rarray(?1) AND erased_at IS NULL",
        ),
    ] {
        if !texts.is_empty() {
            let known = tx.query(sql, &params![&*texts], |row| {
                Ok((format!("{kind}{}", row.text(1)?), UserId::stored(row.int(0)?)))
            })?;
            found.extend(known);
        }
    }
    Ok(refs.iter().map(|of| found.get(&of.to_string()).copied()).collect())
}
