//! What can go wrong, in terms that a caller can act on.

use std::path::PathBuf;

use rusqlite::ffi;

/// The result of anything that touches the database.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the database. It is `Clone` because a failed commit fails many writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A unique constraint was violated; its name is `table_column_key`.
    #[error("the unique constraint {0} is violated")]
    Unique(String),
    /// Too much is asked at once, or another process holds the lock; try again.
    #[error("the database is busy")]
    Busy,
    /// The disk is full. Reads go on, and writes come back when there is space.
    #[error("the disk is full")]
    Full,
    /// The storage failed and is not trusted any more; the process must end.
    #[error("the storage has failed: {0}")]
    Failed(String),
    /// The database cannot be reached, or not within the time that a request has; nothing was
    /// written.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The connection was lost in the middle of a commit: it may be written, or not.
    #[error("the connection was lost while committing: it is not known whether it was written")]
    Unknown,
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// The closure of a caller panicked; its effects are undone.
    #[error("a transaction panicked: {0}")]
    Panicked(String),
    /// A row that must be there is not.
    #[error("a row is missing")]
    NoRow,
    /// A column holds something else than the code expects.
    #[error("column {column} does not hold {expected}")]
    Column {
        /// Its position in the answer, from 0.
        column: usize,
        /// What it must hold.
        expected: &'static str,
    },
    /// The address of a database is wrong.
    #[error("the database URL is not usable: {0}")]
    Url(&'static str),
    /// Another server has the file open.
    #[error("another server is using {0}")]
    InUse(PathBuf),
    /// The database was made by a newer version of this program.
    #[error("the database has schema version {found}, this program knows up to {known}")]
    SchemaNewer {
        /// The version in the database.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The schema must be migrated first.
    #[error("the database has schema version {found}, this program needs {known}: migrate it")]
    SchemaOlder {
        /// The version in the database.
        found: i64,
        /// The version that this program needs.
        known: i64,
    },
    /// A migration that was applied is not the one that this program has under that number.
    #[error("schema version {0} of the database is not the one that this program knows")]
    SchemaChanged(i64),
    /// The file is not a whole database.
    #[error("{path} is damaged: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first problem that was found.
        problem: String,
    },
    /// A database cannot be copied as things are; nothing has changed.
    #[error("{0}")]
    NotCopied(String),
    /// A copy is not what it was copied from; it was undone.
    #[error("the copy is not the same as the source: {0}")]
    Differs(String),
    /// The engine of this database has another way to do it.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A file that must not be overwritten is there.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// A file operation around the database failed.
    #[error("{0}")]
    File(String),
    /// Anything else that the engine says.
    #[error("the database says: {0}")]
    Engine(String),
}

impl Error {
    /// Whether nothing may be acknowledged after it: what was written may not be on the disk.
    ///
    /// After a failed fsync Linux may have dropped the pages, and the engine would go on as if
    /// nothing had happened.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Error::Failed(_))
    }

    pub(crate) fn file(what: &str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        Error::File(format!("cannot {what} {}: {cause}", path.display()))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(code, message) = &error else {
            return Error::Engine(error.to_string());
        };
        let text = || message.clone().unwrap_or_else(|| code.to_string());
        match (code.extended_code & 0xff, code.extended_code) {
            (_, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
                Error::Unique(constraint_name(&text()))
            }
            (ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED, _) => Error::Busy,
            // The shared index of the log is extended by writing to it: no space shows up here too.
            (ffi::SQLITE_FULL, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Error::Full,
            (ffi::SQLITE_IOERR | ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB, extended) => {
                Error::Failed(format!("{} (code {extended})", text()))
            }
            _ => Error::Engine(text()),
        }
    }
}

/// `UNIQUE constraint failed: users.name_folded` becomes `users_name_folded_key`.
fn constraint_name(message: &str) -> String {
    let columns = message.rsplit(": ").next().unwrap_or_default().split(", ");
    let columns = columns.map(|column| column.split_once('.').unwrap_or(("", column)));
    let table = columns.clone().next().map_or("", |(table, _)| table);
    unique_name(table, columns.map(|(_, column)| column))
}

/// The name by which both engines call the unique constraint of some columns: the one that
/// PostgreSQL gives it by itself, except that it calls primary keys otherwise.
pub(crate) fn unique_name<'a>(table: &str, columns: impl Iterator<Item = &'a str>) -> String {
    let mut name = table.to_owned();
    for part in columns.chain(["key"]) {
        name.push('_');
        name.push_str(part);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::constraint_name;

    #[test]
    fn a_constraint_is_named_by_its_table_and_columns() {
        assert_eq!(constraint_name("UNIQUE constraint failed: users.name"), "users_name_key");
        assert_eq!(constraint_name("UNIQUE constraint failed: a.b, a.c"), "a_b_c_key");
    }
}
