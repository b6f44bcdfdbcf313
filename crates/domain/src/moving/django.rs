//! The database of a Django app, as lines of the format: they are checked and written as those of
//! a file are.

mod messages;
mod tables;
mod threads;
mod users;

use std::collections::{BTreeMap, HashMap};

use db::Foreign;
use serde_json::json;

pub use self::tables::{Columns, Tables, find};
use crate::base::Time;

/// The source of what comes from a Django database.
pub const SOURCE: &str = "django";

/// What becomes of a user whose name cannot be a username here, or is another's but for its case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// They stay behind, with what they wrote and got.
    Skip,
    /// They get a name with their number behind it, and their old one is shown.
    Suffix,
    /// They get their e-mail address as their name where that can be one; else as above.
    Email,
}

/// What a row has become.
#[derive(Debug, Clone)]
pub enum Read {
    /// A line of the format, with the number of its row.
    Line(i64, String),
    /// Something of it that does not come, or changes.
    Note(Note),
}

/// What does not come of a row, or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The row is one of a user; else of a message.
    pub is_user: bool,
    /// Its primary key.
    pub row: String,
    /// What has become of it, for programs.
    pub code: &'static str,
    /// Why, for a person.
    pub detail: String,
}

/// How many of what there are in a Django database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows of users.
    pub users: u64,
    /// Users that come.
    pub users_come: u64,
    /// Those of them who cannot sign in.
    pub inactive: u64,
    /// Those of them who have no password.
    pub without_password: u64,
    /// Rows of messages.
    pub messages: u64,
    /// Messages that come.
    pub messages_come: u64,
    /// Those of them that answer another.
    pub replies: u64,
    /// Marks that come, by what they say.
    pub marks: BTreeMap<&'static str, u64>,
    /// Notes, by their code.
    pub notes: BTreeMap<&'static str, u64>,
}

/// Gives `out` what the rows of a Django database become: users first. What has been in the trash
/// for too long, or since nobody knows when, is there since `now`.
///
/// # Errors
/// That the database cannot be read; what `out` returns.
pub fn read<E: From<db::Error>>(
    foreign: &mut Foreign,
    tables: &Tables,
    (names, now): (Names, Time),
    out: &mut dyn FnMut(Read) -> Result<(), E>,
) -> Result<Counts, E> {
    let mut to = Out { out, counts: Counts::default() };
    let people = users::read(foreign, &tables.users, names, &mut to)?;
    match &tables.messages {
        None => {}
        Some(tables::Messages::Plain(source)) => {
            messages::read(foreign, source, &people, now, &mut to)?;
        }
        Some(tables::Messages::Threads(threads)) => {
            threads::read(foreign, threads, &people, now, &mut to)?;
        }
    }
    Ok(to.counts)
}

/// Where lines and notes go, and are counted.
struct Out<'o, E> {
    out: &'o mut dyn FnMut(Read) -> Result<(), E>,
    counts: Counts,
}

impl<E> Out<'_, E> {
    fn line(&mut self, number: i64, what: &str, fields: &serde_json::Value) -> Result<(), E> {
        (self.out)(Read::Line(number, json!({ what: fields }).to_string()))
    }

    fn note(
        &mut self,
        (is_user, row): (bool, &str),
        code: &'static str,
        detail: impl Into<String>,
    ) -> Result<(), E> {
        *self.counts.notes.entry(code).or_default() += 1;
        let (row, detail) = (row.to_owned(), detail.into());
        (self.out)(Read::Note(Note { is_user, row, code, detail }))
    }

    fn mark(&mut self, what: &'static str) {
        *self.counts.marks.entry(what).or_default() += 1;
    }
}

/// A primary key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Number(i64),
    Text(Box<str>),
}

impl Key {
    fn of(text: &str) -> Self {
        let number = text.parse().ok().filter(|number: &i64| *number > 0);
        number.map_or_else(|| Self::Text(text.into()), Self::Number)
    }

    /// The number of its row: itself where it is a number, else its place.
    fn number(&self, place: u64) -> i64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(_) => i64::try_from(place).unwrap_or(i64::MAX),
        }
    }
}

/// The users that come, with how a message names them.
struct People(HashMap<Key, String>);

impl People {
    fn get(&self, key: Option<&str>) -> Option<&str> {
        self.0.get(&Key::of(key?)).map(String::as_str)
    }
}

/// A time of Django's: in UTC where it does not say.
fn time(text: Option<&str>) -> Option<Time> {
    let text = text?.trim();
    let instant = text.parse::<jiff::Timestamp>().ok();
    let instant = instant.or_else(|| format!("{}Z", text.replacen(' ', "T", 1)).parse().ok());
    let instant = instant.map(|at: jiff::Timestamp| at.as_microsecond());
    instant.filter(|at| *at > 0).map(Time)
}

/// A flag of either engine.
fn flag(text: Option<&str>) -> bool {
    matches!(text, Some("1" | "t" | "true"))
}

/// A time as a line has it.
fn shown(time: Time) -> String {
    jiff::Timestamp::from_microsecond(time.0).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// A text without the character that no text here has.
fn without_nul<E>(text: &str, row: &str, out: &mut Out<'_, E>) -> Result<String, E> {
    if text.contains('\0') {
        out.note((false, row), "nul_left_out", "a text of it has the character U+0000")?;
    }
    Ok(text.replace('\0', ""))
}
