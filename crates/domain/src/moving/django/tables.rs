//! Which tables and columns of a Django database hold users and messages.

use std::collections::{BTreeMap, BTreeSet};

use db::{Foreign, ForeignTable};

use crate::base::Invalid;

/// What a column can say of a message. The first five have to be there, but for the subject.
const MEANINGS: [&str; 14] = [
    "from",
    "to",
    "subject",
    "body",
    "sent_at",
    "read",
    "read_at",
    "in_reply_to",
    "from_trashed_at",
    "to_trashed_at",
    "from_archived",
    "to_archived",
    "from_deleted",
    "to_deleted",
];
const REQUIRED: [&str; 4] = ["from", "to", "body", "sent_at"];

/// What a column can say of a user.
const OF_USERS: [(&str, &str); 7] = [
    ("password", "password"),
    ("email", "email"),
    ("created_at", "date_joined"),
    ("active", "is_active"),
    ("first_name", "first_name"),
    ("last_name", "last_name"),
    ("username", "username"),
];

/// An app that is known, by the columns that its table has, and some that it may have.
struct App {
    needs: &'static [(&'static str, &'static str)],
    may: &'static [(&'static str, &'static str)],
}

/// The Django app with Postroom's classic API, django-messages, and django-postman.
const KNOWN: [App; 3] = [
    App {
        needs: &[
            ("from", "sender_id"),
            ("to", "receiver_id"),
            ("subject", "subject"),
            ("body", "body"),
            ("sent_at", "creation_date"),
        ],
        may: &[("read", "is_read")],
    },
    App {
        needs: &[
            ("from", "sender_id"),
            ("to", "recipient_id"),
            ("subject", "subject"),
            ("body", "body"),
            ("sent_at", "sent_at"),
            ("read_at", "read_at"),
            ("in_reply_to", "parent_msg_id"),
            ("from_trashed_at", "sender_deleted_at"),
            ("to_trashed_at", "recipient_deleted_at"),
        ],
        may: &[],
    },
    App {
        needs: &[
            ("from", "sender_id"),
            ("to", "recipient_id"),
            ("subject", "subject"),
            ("body", "body"),
            ("sent_at", "sent_at"),
            ("read_at", "read_at"),
            ("in_reply_to", "parent_id"),
            ("from_trashed_at", "sender_deleted_at"),
            ("to_trashed_at", "recipient_deleted_at"),
            ("from_archived", "sender_archived"),
            ("to_archived", "recipient_archived"),
            // Whether a moderator has let it through.
            ("moderation", "moderation_status"),
        ],
        may: &[],
    },
];

/// The columns of the tables of pinax-messages, whose names end so.
const MESSAGE: &[(&str, &str)] =
    &[("thread", "thread_id"), ("from", "sender_id"), ("sent_at", "sent_at"), ("body", "content")];
const THREAD: &[(&str, &str)] = &[("subject", "subject")];
const MEMBER: &[(&str, &str)] =
    &[("thread", "thread_id"), ("user", "user_id"), ("unread", "unread"), ("deleted", "deleted")];

/// What the columns of a table of messages say, as a person gives it.
#[derive(Debug, Clone, Default)]
pub struct Columns(BTreeMap<&'static str, String>);

impl Columns {
    /// Reads a list such as `from=sender_id`.
    ///
    /// # Errors
    /// Where it says something else of a message than is known.
    pub fn parse(pairs: &[String]) -> Result<Self, Invalid> {
        let pairs = pairs.iter().map(|pair| {
            let (name, column) = pair.split_once('=').unwrap_or((pair, ""));
            let known = MEANINGS.into_iter().find(|known| *known == name && !column.is_empty());
            let known = known.ok_or_else(|| {
                let all = MEANINGS.join(", ");
                Invalid::new("map", format!("it must look like from=sender_id, with one of {all}"))
            })?;
            Ok((known, column.to_owned()))
        });
        Ok(Self(pairs.collect::<Result<_, Invalid>>()?))
    }
}

/// A table with the columns that are read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) table: String,
    /// The first is the primary key.
    columns: Vec<String>,
    at: BTreeMap<&'static str, usize>,
}

impl Source {
    fn new(
        table: &str,
        of: &ForeignTable,
        columns: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, Invalid> {
        let id = || of.columns.iter().find(|column| *column == "id").cloned();
        let key = of.key.clone().or_else(id).ok_or_else(|| {
            Invalid::new("table", format!("{table} has no primary key of one column"))
        })?;
        let (mut list, mut at) = (vec![key], BTreeMap::new());
        for (meaning, column) in columns {
            if !of.columns.contains(&column) {
                let all = of.columns.join(", ");
                let problem = format!("{table} has no column {column}; it has {all}");
                return Err(Invalid::new("map", problem));
            }
            at.insert(meaning, list.len());
            list.push(column);
        }
        Ok(Self { table: table.to_owned(), columns: list, at })
    }

    /// What is read, in its order.
    pub(super) fn columns(&self) -> Vec<&str> {
        self.columns.iter().map(String::as_str).collect()
    }

    /// What a row says; `None` where it does not, or has no such column.
    pub(super) fn get<'r>(&self, row: &[Option<&'r str>], meaning: &str) -> Option<&'r str> {
        row.get(*self.at.get(meaning)?).copied().flatten()
    }

    pub(super) fn has(&self, meaning: &str) -> bool {
        self.at.contains_key(meaning)
    }
}

/// Where messages are.
#[derive(Debug, Clone)]
pub(super) enum Messages {
    /// In one table, each to one recipient.
    Plain(Source),
    /// In the threads of pinax-messages.
    Threads(Box<Threads>),
}

/// The tables of pinax-messages.
#[derive(Debug, Clone)]
pub(super) struct Threads {
    pub(super) messages: Source,
    pub(super) subjects: Source,
    pub(super) members: Source,
}

/// The tables that are read.
#[derive(Debug, Clone)]
pub struct Tables {
    pub(super) users: Source,
    pub(super) messages: Option<Messages>,
    /// Columns of them that say nothing here.
    pub unread: Vec<String>,
}

impl Tables {
    /// The name of the table of users.
    pub fn users(&self) -> &str {
        &self.users.table
    }

    /// The name of the table of messages, if there is one.
    pub fn messages(&self) -> Option<&str> {
        Some(match self.messages.as_ref()? {
            Messages::Plain(source) => &source.table,
            Messages::Threads(threads) => &threads.messages.table,
        })
    }
}

/// Finds the tables of a Django database: the users in `users`, and the messages in the table that
/// is named, or in the one that looks like that of an app that is known.
///
/// # Errors
/// Where a table or column is missing, or more than one table could be meant.
pub fn find(
    foreign: &Foreign,
    users: &str,
    (messages, columns): (Option<&str>, &Columns),
) -> Result<Tables, Invalid> {
    let tables = foreign.tables();
    let of = table(tables, "users", users)?;
    let users = Source::new(users, of, user_columns(users, of)?)?;
    if messages.is_none() && !columns.0.is_empty() {
        return Err(Invalid::new("messages", "--map needs --messages TABLE as well"));
    }
    let messages = match messages {
        Some(name) => Some(named(tables, name, columns)?),
        None => guessed(tables)?,
    };
    let sources = match &messages {
        None => vec![&users],
        Some(Messages::Plain(source)) => vec![&users, source],
        Some(Messages::Threads(all)) => vec![&users, &all.messages, &all.subjects, &all.members],
    };
    let unread = sources.iter().flat_map(|source| {
        let all = tables.get(&source.table).map_or(&[][..], |table| &table.columns);
        let unread = all.iter().filter(|column| !source.columns.contains(column));
        unread.map(|column| format!("{}.{column}", source.table))
    });
    Ok(Tables { unread: unread.collect(), users, messages })
}

type Catalog = BTreeMap<String, ForeignTable>;

fn table<'c>(
    tables: &'c Catalog,
    option: &'static str,
    name: &str,
) -> Result<&'c ForeignTable, Invalid> {
    tables.get(name).ok_or_else(|| {
        let all = tables.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        Invalid::new(option, format!("there is no table {name}; there are {all}"))
    })
}

/// The columns of a table of users, whose name is their e-mail address where they have no other.
fn user_columns(table: &str, of: &ForeignTable) -> Result<BTreeMap<&'static str, String>, Invalid> {
    let here = OF_USERS.into_iter().filter(|(_, column)| has(of, column));
    let mut columns: BTreeMap<_, _> =
        here.map(|(meaning, column)| (meaning, column.to_owned())).collect();
    if !columns.contains_key("username") {
        let email = columns.get("email").cloned();
        let problem = || format!("{table} has no column username or email: name another table");
        columns.insert("username", email.ok_or_else(|| Invalid::new("users", problem()))?);
    }
    Ok(columns)
}

fn has(table: &ForeignTable, column: &str) -> bool {
    table.columns.iter().any(|it| it == column)
}

fn named(tables: &Catalog, name: &str, columns: &Columns) -> Result<Messages, Invalid> {
    let of = table(tables, "messages", name)?;
    if columns.0.is_empty()
        && let Some(found) = fit(tables, name)
    {
        return found;
    }
    let missing = REQUIRED.into_iter().find(|meaning| !columns.0.contains_key(meaning));
    if let Some(missing) = missing {
        let all = of.columns.join(", ");
        let problem = format!("which column of {name} is `{missing}`? It has {all}");
        return Err(Invalid::new("map", problem));
    }
    Ok(Messages::Plain(Source::new(name, of, columns.0.clone())?))
}

fn guessed(tables: &Catalog) -> Result<Option<Messages>, Invalid> {
    let found = tables.keys().filter_map(|name| Some((name, fit(tables, name)?)));
    let mut found: Vec<_> = found.collect();
    if found.len() > 1 {
        let names: BTreeSet<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let problem = format!("more than one table has messages: {names}. Say --messages TABLE");
        return Err(Invalid::new("messages", problem));
    }
    found.pop().map(|(_, messages)| messages).transpose()
}

/// The messages of a table that looks like that of an app that is known.
fn fit(tables: &Catalog, name: &str) -> Option<Result<Messages, Invalid>> {
    let of = tables.get(name)?;
    for App { needs, may } in &KNOWN {
        if needs.iter().all(|(_, column)| has(of, column)) {
            let all = needs.iter().chain(may.iter().filter(|(_, column)| has(of, column)));
            return Some(source(name, of, all).map(Messages::Plain));
        }
    }
    let prefix = name.strip_suffix("_message")?;
    let beside = |suffix: &str, needs: &[(&str, &str)]| {
        let (name, of) = tables.get_key_value(&format!("{prefix}_{suffix}"))?;
        needs.iter().all(|(_, column)| has(of, column)).then_some((name, of))
    };
    let (thread, of_thread) = beside("thread", THREAD)?;
    let (member, of_member) = beside("userthread", MEMBER)?;
    if !MESSAGE.iter().all(|(_, column)| has(of, column)) {
        return None;
    }
    let all = || {
        Ok(Messages::Threads(Box::new(Threads {
            messages: source(name, of, MESSAGE)?,
            subjects: source(thread, of_thread, THREAD)?,
            members: source(member, of_member, MEMBER)?,
        })))
    };
    Some(all())
}

fn source<'a>(
    name: &str,
    of: &ForeignTable,
    columns: impl IntoIterator<Item = &'a (&'static str, &'static str)>,
) -> Result<Source, Invalid> {
    let columns = columns.into_iter();
    Source::new(name, of, columns.map(|(meaning, column)| (*meaning, (*column).to_owned())))
}
