//! Users as everybody may see them.

use std::fmt::Display;

use db::{Row, Tx, params};
use sha2::{Digest as _, Sha256};

use crate::base::id::each_once;
use crate::base::{Result, UserId};

/// The name shown for an erased user. No username can contain its space.
pub const ERASED: &str = "deleted user";

/// What a user is. The numbers are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// A person.
    #[default]
    Person = 0,
    /// A sender without a login: the app itself.
    System = 1,
}

impl Kind {
    /// All values.
    pub const ALL: [Self; 2] = [Self::Person, Self::System];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::System => "system",
        }
    }

    /// The value of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn stored(column: usize, number: i64) -> db::Result<Self> {
        let known = Self::ALL.into_iter().find(|kind| *kind as i64 == number);
        known.ok_or(db::Error::Column { column, expected: "0 or 1" })
    }
}

/// A user as everybody may see them: never with the e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The id.
    pub id: UserId,
    /// The username, or [`ERASED`].
    pub username: String,
    /// The display name, or the username where none is set.
    pub display_name: String,
    /// The app's own id of the user, where it has given one.
    pub external_id: Option<String>,
    /// Whether it is a person.
    pub kind: Kind,
}

/// The columns of a [`Person`], which come first in a statement that reads one.
macro_rules! person_columns {
    () => {
        "users.id, users.name, users.display_name, users.external_id, users.kind"
    };
}
pub(crate) use person_columns;

impl Person {
    /// From the columns [`person_columns!`]; an erased user has no name.
    pub(crate) fn read(row: &Row<'_>) -> db::Result<Self> {
        let username = Some(row.text(1)?).filter(|name| !name.is_empty()).unwrap_or(ERASED);
        let display_name = Some(row.text(2)?).filter(|name| !name.is_empty()).unwrap_or(username);
        Ok(Self {
            id: UserId::stored(row.int(0)?),
            username: username.to_owned(),
            display_name: display_name.to_owned(),
            external_id: row.opt_text(3)?.map(str::to_owned),
            kind: Kind::stored(4, row.int(4)?)?,
        })
    }
}

/// A tag that changes whenever the state changes, or anything that is shown of the people: the
/// state, `-`, and a hash of the people. It is the same in every build, as nodes of two versions
/// may serve one client.
pub fn names_tag(state: impl Display, people: &[Person]) -> String {
    let mut names = Sha256::new();
    for Person { id, username, display_name, external_id, kind } in people {
        names.update(id.get().to_be_bytes());
        // Neither a name nor an external id holds U+0000, so it can end one.
        for name in [username, display_name] {
            names.update(name.as_bytes());
            names.update([0]);
        }
        // An id begins with a byte 0, so neither of these is taken for the next one.
        if let Some(external_id) = external_id {
            names.update([1]);
            names.update(external_id.as_bytes());
            names.update([0]);
        }
        if *kind != Kind::Person {
            names.update([2, *kind as u8]);
        }
    }
    let [a, b, c, d, ..] = <[u8; 32]>::from(names.finalize());
    format!("{state}-{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// One user, disabled and erased ones too; `None` where there is none with that id.
pub fn person(tx: &mut Tx<'_>, id: UserId) -> Result<Option<Person>> {
    Ok(tx.query_opt(
        concat!("SELECT ", person_columns!(), " FROM users WHERE id = ?1"),
        &params![id],
        Person::read,
    )?)
}

/// Up to some thousand users at once, each once, ascending by id; ids that do not exist are left
/// out.
pub fn people(tx: &mut Tx<'_>, ids: &[UserId]) -> Result<Vec<Person>> {
    let ids = each_once(ids.iter().map(|id| id.get()));
    let mut found = tx.query(
        concat!("SELECT ", person_columns!(), " FROM rarray(?1) JOIN users ON users.id = value"),
        &params![&*ids],
        Person::read,
    )?;
    found.sort_by_key(|person| person.id);
    Ok(found)
}
