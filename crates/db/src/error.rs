//! What can go wrong, in terms that a caller can act on.

use std::path::PathBuf;

use rusqlite::ffi;

/// The result of anything that touches the database.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the database. `Clone`, because one failed commit fails many writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A unique constraint was violated. Its name is `table_column_key`.
    #[error("the unique constraint {0} is violated")]
    Unique(String),
    /// Too much work is queued, or another transaction holds a lock; try again.
    #[error("the database is busy")]
    Busy,
    /// The disk is full. Reads still work, and writes work again once there is space.
    #[error("the disk is full")]
    Full,
    /// The storage failed and can no longer be trusted; the process must end.
    #[error("the storage has failed: {0}")]
    Failed(String),
    /// The database did not answer in the time that a request has; nothing was written.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The connection was lost during a commit, which may or may not have happened.
    #[error("the connection was lost during the commit, which may or may not have happened")]
    Unknown,
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// The caller's closure panicked; its effects are undone.
    #[error("a transaction panicked: {0}")]
    Panicked(String),
    /// A row that must exist does not.
    #[error("a row is missing")]
    NoRow,
    /// A column does not hold what the code expects.
    #[error("column {column} does not hold {expected}")]
    Column {
        /// Its position in the row, from 0.
        column: usize,
        /// What it must hold.
        expected: &'static str,
    },
    /// The address of a database is invalid.
    #[error("the database URL is not usable: {0}")]
    Url(&'static str),
    /// The certificates that the address of a database names cannot be used.
    #[error("sslrootcert: {0}")]
    Certificates(String),
    /// Another server has the file open.
    #[error("another server is using {0}")]
    InUse(PathBuf),
    /// A server uses a database on a PostgreSQL server that has to be used by nobody.
    #[error("a server is using {0}: stop all of them first")]
    NotAlone(String),
    /// The database was made by a newer version of this program.
    #[error(
        "the database has schema version {found}, this program supports only {known}: upgrade it"
    )]
    SchemaNewer {
        /// The version in the database.
        found: i64,
        /// The newest version that this program supports.
        known: i64,
    },
    /// The schema must be migrated first.
    #[error("the database has schema version {found}, but this program needs {known}: migrate it")]
    SchemaOlder {
        /// The version in the database.
        found: i64,
        /// The version that this program needs.
        known: i64,
    },
    /// An applied migration differs from this program's migration of the same number.
    #[error("schema version {0} of the database differs from the one in this program")]
    SchemaChanged(i64),
    /// The file or database is none of this program, and is left as it is.
    #[error("{database} is not a database of this program: {what}. It is left as it is")]
    NotOurs {
        /// Its path, or where it is.
        database: String,
        /// What it is instead.
        what: &'static str,
    },
    /// The file is not an intact database.
    #[error("{path} is damaged: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first problem found.
        problem: String,
    },
    /// The source or target of a copy is in a state that does not allow it; nothing has changed.
    #[error("{0}")]
    NotCopied(String),
    /// A copy differs from its source; it was undone.
    #[error("the copy differs from the source: {0}")]
    Differs(String),
    /// The engine of this database does not support the operation.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A file that must not be overwritten exists.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// An operation on a file beside the database failed.
    #[error("{0}")]
    File(String),
    /// The process could not get a thread, a runtime or TLS to work with.
    #[error("{0}")]
    Setup(String),
    /// Any other error of the engine.
    #[error("the database reports: {0}")]
    Engine(String),
}

impl Error {
    /// Whether nothing may be acknowledged after this error, because written data may be missing on
    /// the disk: after a failed fsync Linux may drop the pages, and the engine would not notice.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Error::Failed(_))
    }

    /// A failed file operation, as `cannot <what> <path>: <cause>`.
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
            // The index of the log is extended by writing to it, which fails on a full disk, too.
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

/// The name of a unique constraint, for both engines: the one that PostgreSQL generates, except
/// for primary keys.
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
    fn a_constraint_is_named_after_its_table_and_columns() {
        assert_eq!(constraint_name("UNIQUE constraint failed: users.name"), "users_name_key");
        assert_eq!(constraint_name("UNIQUE constraint failed: a.b, a.c"), "a_b_c_key");
    }
}
