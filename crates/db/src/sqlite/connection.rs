//! Connections and their settings.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::vtab::array;
use rusqlite::{Connection, OpenFlags};

use super::files::has_log;
use super::log::LONG_BYTES;
use crate::{Error, Result};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The one connection that writes.
    Writer,
    /// Short reads on a thread of the caller.
    Reader,
    /// Scans.
    Scanner,
    /// Copies the log back into the file.
    Checkpointer,
    /// A command: backup, integrity check.
    Tool,
}

/// How long a statement waits for the lock of another process before it fails with
/// [`Error::Busy`].
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// The first version without the WAL-reset bug (sqlite.org/changes.html, 3.51.3).
const OLDEST: i32 = 3_051_003;

pub(super) fn open(path: &Path, role: Role) -> Result<Connection> {
    let version = rusqlite::version_number();
    if version < OLDEST {
        return Err(Error::Engine(format!("SQLite {version} is older than {OLDEST}")));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    array::load_module(&connection)?;
    // Plans depend on the text alone. Otherwise a statement may be prepared again because another
    // value was bound, which may change a plan.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A command leaves the log to the next server. SQLite removes one that is empty.
    if role == Role::Tool && has_log(path) {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    }
    // Negative sizes are KiB. More than 8 MB brings nothing: the system caches the file as well,
    // and each commit searches the whole cache of the writer.
    let cache = match role {
        Role::Writer | Role::Reader => -8_000,
        Role::Scanner | Role::Checkpointer | Role::Tool => -2_000,
    };
    connection.execute_batch(&format!("PRAGMA cache_size = {cache}"))?;
    match role {
        // FULL: a commit is on the disk before it is acknowledged. Checkpoints have their own
        // thread. The journal of savepoints stays in memory. Deleted data is overwritten.
        Role::Writer => {
            use_log(&connection)?;
            connection.execute_batch(
                "PRAGMA synchronous = FULL;
                 PRAGMA wal_autocheckpoint = 0;
                 PRAGMA temp_store = MEMORY;
                 PRAGMA secure_delete = ON;",
            )?;
            // A log that became longer is cut by the first commit after its restart.
            let limit = format!("PRAGMA journal_size_limit = {LONG_BYTES}");
            connection.execute_batch(&limit)?;
        }
        Role::Checkpointer => {
            connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")?;
        }
        Role::Reader | Role::Scanner | Role::Tool => {
            connection.execute_batch("PRAGMA query_only = ON")?;
        }
    }
    Ok(connection)
}

fn use_log(connection: &Connection) -> Result<()> {
    let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
    // Read to the end: the change is committed after its row was returned, and can fail then.
    let modes: rusqlite::Result<Vec<String>> = statement.query_map([], |row| row.get(0))?.collect();
    match modes?.into_iter().find(|mode| mode != "wal") {
        None => Ok(()),
        Some(mode) => {
            let problem = format!("this file system allows no write-ahead log, only {mode}");
            Err(Error::Engine(problem))
        }
    }
}
