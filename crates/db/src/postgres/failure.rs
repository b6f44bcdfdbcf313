//! Translates errors of the server into [`Error`], and says how to recover from them.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::iter::successors;

use tokio_postgres::Row as PgRow;
use tokio_postgres::error::{DbError, SqlState};

use crate::{Error, Result, Row, error::unique_name};

/// What to do about a failed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Nothing: it would fail again.
    None,
    /// Run the work again; another transaction was in its way.
    Retry,
    /// Run the work again later; it waits for a lock that is held for long.
    Wait,
    /// Run the work again on a new connection; this one is lost or useless.
    Reconnect,
    /// Give up all connections; the server goes away or is read-only.
    ReconnectAll,
}

/// Sorts a failure. `reading` says that the transaction only reads.
pub(super) fn sort(
    error: &tokio_postgres::Error,
    catalog: &Catalog,
    reading: bool,
) -> (Error, Recovery) {
    let Some(db_error) = error.as_db_error() else {
        // Without an error of the server, the connection failed, or a value has the wrong type.
        let lost = error.is_closed() || chain(error).any(<dyn StdError>::is::<std::io::Error>);
        let text = causes(error);
        return if lost {
            (Error::Unavailable(text), Recovery::Reconnect)
        } else {
            (Error::Engine(text), Recovery::None)
        };
    };
    // Without the detail, which repeats what users wrote.
    let text = || format!("{} ({})", db_error.message(), db_error.code().code());
    match *db_error.code() {
        SqlState::UNIQUE_VIOLATION => (Error::Unique(catalog.name(db_error)), Recovery::None),
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
            (Error::Busy, Recovery::Retry)
        }
        SqlState::LOCK_NOT_AVAILABLE => (Error::Busy, Recovery::Wait),
        SqlState::QUERY_CANCELED => (Error::Busy, Recovery::None),
        SqlState::DISK_FULL => (Error::Full, Recovery::None),
        // A read has tried to write; the server itself may well accept writes.
        SqlState::READ_ONLY_SQL_TRANSACTION if reading => (Error::Engine(text()), Recovery::None),
        // The server is read-only, goes away or is starting.
        SqlState::READ_ONLY_SQL_TRANSACTION
        | SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW => (Error::Unavailable(text()), Recovery::ReconnectAll),
        ref other => match &other.code()[..2] {
            // 08: connection failures. 25: sessions ended for idling, and the failed COMMIT of an
            // earlier read, whose answer nobody waited for. 53: too many connections, out of
            // memory. 57: intervention of an operator.
            "08" | "25" | "53" | "57" => (Error::Unavailable(text()), Recovery::Reconnect),
            _ => (Error::Engine(text()), Recovery::None),
        },
    }
}

/// The whole chain of causes: the outermost error alone says little.
pub(super) fn causes(error: &tokio_postgres::Error) -> String {
    chain(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn chain(error: &dyn StdError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    successors(error.source(), |&cause| cause.source())
}

/// The names of unique constraints. PostgreSQL names primary keys differently from SQLite, and
/// keeps the names when a table is renamed.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// The name that both engines use for each constraint, by the name in PostgreSQL.
    names: HashMap<String, String>,
}

/// The name, the table and one column of each constraint, in the order of its columns.
pub(super) const CONSTRAINTS: &str = "
    SELECT constraints.conname::text, tables.relname::text, columns.attname::text
    FROM pg_constraint AS constraints
    JOIN pg_class AS tables ON tables.oid = constraints.conrelid
    CROSS JOIN LATERAL unnest(constraints.conkey) WITH ORDINALITY AS keys (number, place)
    JOIN pg_attribute AS columns
        ON columns.attrelid = tables.oid AND columns.attnum = keys.number
    WHERE constraints.contype IN ('p', 'u')
        AND tables.relnamespace = current_schema()::regnamespace
    ORDER BY constraints.conname, keys.place";

impl Catalog {
    /// From the rows of [`CONSTRAINTS`].
    pub(super) fn new(rows: &[PgRow]) -> Result<Self> {
        let text = |row, column| Row::postgres(row).text(column);
        let rows = rows.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?, text(row, 2)?)));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let names = rows.chunk_by(|one, next| one.0 == next.0).map(|rows| {
            let columns = rows.iter().map(|(_, _, column)| *column);
            (rows[0].0.to_owned(), unique_name(rows[0].1, columns))
        });
        Ok(Self { names: names.collect() })
    }

    /// The name that both engines use for the violated constraint.
    pub(super) fn name(&self, error: &DbError) -> String {
        let name = error.constraint().unwrap_or_default();
        self.names.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }
}
