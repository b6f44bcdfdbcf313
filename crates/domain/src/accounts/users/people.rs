//! Users as everybody may see them.

use std::fmt::Display;

use db::{Row, Tx, params};
use sha2::{Digest as _, Sha256};

use crate::base::{Result, UserId};

/// The name shown for an erased user. No username can contain its space.
pub const ERASED: &str = "deleted user";
/// A user as everybody may see them: never with the e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The id.
    pub id: UserId,
    /// The username, or [`ERASED`].
    pub username: String,
    /// The display name, or the username where none is set.
    pub display_name: String,
}

impl Person {
    /// From the columns id, name and `display_name`; an erased user has no name.
    pub(crate) fn read(row: &Row<'_>) -> db::Result<Self> {
        let username = Some(row.text(1)?).filter(|name| !name.is_empty()).unwrap_or(ERASED);
        let display_name = Some(row.text(2)?).filter(|name| !name.is_empty()).unwrap_or(username);
        Ok(Self {
            id: UserId::stored(row.int(0)?),
            username: username.to_owned(),
            display_name: display_name.to_owned(),
        })
    }
}

/// A tag that changes whenever the state or one of the names changes: the state, `-`, and a hash of
/// the names. It is the same in every build, as nodes of two versions may serve one client.
pub fn names_tag(state: impl Display, people: &[Person]) -> String {
    let mut names = Sha256::new();
    for person in people {
        names.update(person.id.get().to_be_bytes());
        for name in [&person.username, &person.display_name] {
            // No name holds U+0000, so it can end one.
            names.update(name.as_bytes());
            names.update([0]);
        }
    }
    let [a, b, c, d, ..] = <[u8; 32]>::from(names.finalize());
    format!("{state}-{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// One user, disabled and erased ones too; `None` where there is none with that id.
pub fn person(tx: &mut Tx<'_>, id: UserId) -> Result<Option<Person>> {
    Ok(tx.query_opt(
        "SELECT id, name, display_name FROM users WHERE id = ?1",
        &params![id],
        Person::read,
    )?)
}

/// Some hundreds of users at once, each once, ascending by id; ids that do not exist are left out.
pub fn people(tx: &mut Tx<'_>, ids: &[UserId]) -> Result<Vec<Person>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
    // A list costs SQLite a temporary table, and most messages have a sender and one recipient.
    if let [one, other] = *ids
        && one < other
    {
        let mut both = tx.query(
            "SELECT id, name, display_name FROM users WHERE id = ?1
             UNION ALL SELECT id, name, display_name FROM users WHERE id = ?2",
            &params![one, other],
            Person::read,
        )?;
        both.sort_by_key(|person| person.id);
        return Ok(both);
    }
    Ok(tx.query(
        "SELECT id, name, display_name FROM users
         WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",
        &params![&*ids],
        Person::read,
    )?)
}
