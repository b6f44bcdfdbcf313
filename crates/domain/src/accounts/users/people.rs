//! Users as everybody may see them.

use crate::base::{Result, UserId};
use std::fmt::Display;

use db::{Row, Tx, params};
use sha2::{Digest as _, Sha256};

/// The name shown for an erased user. No username can contain its space.
pub const ERASED: &str = "deleted user";
/// The most users that a look-up by prefix finds.
pub const LOOKED_UP: i64 = 20;

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

/// Up to `limit`, at most [`LOOKED_UP`], users whose username or display name begins with a folded
/// prefix, ordered by the name that matched, so that an exact match comes first. Disabled and
/// erased users are left out; an empty prefix finds nobody.
pub fn lookup(tx: &mut Tx<'_>, prefix: &str, limit: i64) -> Result<Vec<Person>> {
    let Some(end) = successor(prefix) else { return Ok(vec![]) };
    let limit = limit.clamp(0, LOOKED_UP);
    let params = params![prefix, end.as_str(), limit];
    let mut found = tx.query(
        "SELECT id, name, display_name, name_folded FROM users
         WHERE name_folded >= ?1 AND name_folded < ?2 AND disabled_at IS NULL
         ORDER BY name_folded LIMIT ?3",
        &params,
        |row| Ok((row.text(3)?.to_owned(), Person::read(row)?)),
    )?;
    found.extend(tx.query(
        "SELECT id, name, display_name, display_folded FROM users
         WHERE display_folded >= ?1 AND display_folded < ?2 AND display_folded <> ''
         AND disabled_at IS NULL ORDER BY display_folded LIMIT ?3",
        &params,
        |row| Ok((row.text(3)?.to_owned(), Person::read(row)?)),
    )?);
    // A stable sort: where two match by the same text, the username goes before the display name.
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut people: Vec<Person> = Vec::new();
    for (_, person) in found {
        if !people.iter().any(|known| known.id == person.id) {
            people.push(person);
        }
    }
    people.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(people)
}

/// The first text after all that begin with this one, by scalar values; `None` where there is none,
/// as for the empty text.
fn successor(prefix: &str) -> Option<String> {
    let mut start = prefix.to_owned();
    while let Some(last) = start.pop() {
        // The successor of U+D7FF is U+E000: what is between them is no character.
        if let Some(next) = (last..=char::MAX).nth(1) {
            start.push(next);
            return Some(start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn the_successor_ends_the_range_of_a_beginning() {
        let successors = [
            ("a", Some("b")),
            ("da", Some("db")),
            ("\u{7f}", Some("\u{80}")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("\u{ffff}", Some("\u{10000}")),
            ("a\u{10ffff}", Some("b")),
            ("a\u{10ffff}\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("", None),
        ];
        for (prefix, end) in successors {
            assert_eq!(successor(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
