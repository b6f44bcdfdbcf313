//! Connections and their settings.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::{Error, Result};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The one that writes.
    Writer,
    /// Short reads on a thread of the server; there are as many as threads.
    Reader,
    /// Long reads.
    Scanner,
    /// The one that copies the log back.
    Checkpointer,
    /// A command's: backup, integrity check.
    Tool,
}

/// How long a statement waits for the lock of another process before it is [`Error::Busy`].
pub(crate) const BUSY: Duration = Duration::from_secs(5);

/// The first version without the WAL-reset bug (sqlite.org/changes.html, 3.51.3).
const OLDEST: i32 = 3_051_003;

pub(crate) fn open(path: &Path, kind: Kind) -> Result<Connection> {
    let version = rusqlite::version_number();
    if version < OLDEST {
        return Err(Error::Engine(format!("SQLite {version} is older than {OLDEST}")));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // Plans depend on the text alone. Else a statement with a join is prepared anew at each use,
    // because the cache of statements clears their values, and a cleared value may change a plan.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(256);
    // Negative sizes are KiB. More than 8 MB does not pay: the system caches the file as well, and
    // each commit of the writer looks through its whole cache.
    let cache = match kind {
        Kind::Writer | Kind::Reader => -8_000,
        Kind::Scanner | Kind::Checkpointer | Kind::Tool => -2_000,
    };
    connection.execute_batch(&format!("PRAGMA cache_size = {cache}"))?;
    match kind {
        // FULL: a commit is on the disk before it is answered. Checkpoints have their own thread.
        // The journal of savepoints stays in memory. What is deleted is overwritten.
        Kind::Writer => {
            use_log(&connection)?;
            connection.execute_batch(
                "PRAGMA synchronous = FULL;
                 PRAGMA wal_autocheckpoint = 0;
                 PRAGMA temp_store = MEMORY;
                 PRAGMA secure_delete = ON;
                 PRAGMA foreign_keys = ON;",
            )?;
        }
        Kind::Checkpointer => {
            connection
                .execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;")?;
        }
        Kind::Reader | Kind::Scanner | Kind::Tool => {
            connection.execute_batch("PRAGMA query_only = ON")?;
        }
    }
    Ok(connection)
}

fn use_log(connection: &Connection) -> Result<()> {
    let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = statement.query([])?;
    // Read to the end: a change of the mode is committed after its row, and can fail there.
    while let Some(row) = rows.next()? {
        let mode: String = row.get(0)?;
        if mode != "wal" {
            return Err(Error::Engine(format!("no write-ahead log is possible here, only {mode}")));
        }
    }
    Ok(())
}
