//! What a file holds, found without changing it: one that is refused stays as it was, byte for
//! byte.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::connection::BUSY;
use super::files::{beside, has_log};
use crate::migrate::Applied;
use crate::{Error, Result, Row};

/// The columns by which a table of steps is ours: other programs have one of that name, too.
const FOUND: &str = "
    SELECT (SELECT count(*) FROM sqlite_schema),
        (SELECT count(*) FROM pragma_table_info('schema_migrations')
         WHERE name IN ('version', 'name', 'checksum', 'applied_at'))";

/// The steps of the schema that a file has; none where there is no file, or nothing in it.
///
/// # Errors
/// [`Error::NotOurs`] for the file of another program.
pub(super) fn steps(path: &Path) -> Result<Vec<Applied>> {
    let not_ours = |what| Err(not_ours(path, what));
    match fs::metadata(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return nothing(path),
        Err(cause) => return Err(Error::file("look at", path, &cause)),
        Ok(file) if !file.is_file() => return not_ours("it is not a regular file"),
        Ok(file) if file.len() == 0 => return nothing(path),
        Ok(_) => {}
    }
    let connection = open(path)?;
    let (tables, columns): (i64, i64) =
        connection.query_row(FOUND, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    match (tables, columns) {
        (0, _) => Ok(Vec::new()),
        (_, 4) => applied(&connection),
        _ => not_ours("it holds what another program has made"),
    }
}

/// No steps, unless there is a log without its database: SQLite would remove it.
fn nothing(path: &Path) -> Result<Vec<Applied>> {
    let log = beside(path, "-wal");
    if !has_log(path) {
        return Ok(Vec::new());
    }
    let (path, log) = (path.display(), log.display());
    Err(Error::File(format!(
        "{log} is the log of a database, but {path} is missing or empty: put the database back \
         beside its log, or move the log away"
    )))
}

fn not_ours(path: &Path, what: &'static str) -> Error {
    Error::NotOurs { database: path.display().to_string(), what }
}

/// The same of a file that must be a database of this program.
///
/// # Errors
/// [`Error::NotOurs`] where it is empty as well.
pub(super) fn confirm(path: &Path) -> Result<()> {
    if steps(path)?.is_empty() {
        return Err(not_ours(path, "it is empty"));
    }
    Ok(())
}

/// Opens a file so that SQLite changes nothing. Where there is a log, it has to be read as well:
/// alone, which needs no index in a file beside it, or with the index of those who use it.
pub(super) fn open(path: &Path) -> Result<Connection> {
    if !has_log(path) {
        return open_as(path, OpenFlags::SQLITE_OPEN_READ_ONLY, "immutable=1");
    }
    alone(path).or_else(|_in_use| open_as(path, OpenFlags::SQLITE_OPEN_READ_ONLY, "mode=ro"))
}

/// Opens the file of another program, which may be using it, so that SQLite changes nothing. Its
/// locks are kept, except where a log is to come and nobody has made one: then nobody writes, and
/// files beside it, which its program may not be able to write, would be left.
pub(super) fn open_theirs(path: &Path) -> Result<Connection> {
    // https://www.sqlite.org/fileformat2.html: 2 where changes are written to a log first.
    let mut header = [0; 19];
    let file = fs::File::open(path).map_err(|cause| Error::file("open", path, &cause))?;
    let has_wal = file.read_exact_at(&mut header, 0).is_ok() && header[18] == 2;
    if has_wal && !beside(path, "-shm").exists() {
        return open(path);
    }
    open_as(path, OpenFlags::SQLITE_OPEN_READ_ONLY, "mode=ro")
}

/// Opens a file with a log that nobody else uses. Nothing is written: the log stays as it is.
fn alone(path: &Path) -> Result<Connection> {
    if beside(path, "-journal").exists() {
        return Err(Error::Busy);
    }
    let connection = open_as(path, OpenFlags::SQLITE_OPEN_READ_WRITE, "mode=rw")?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA locking_mode = EXCLUSIVE")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_row| Ok(()))?;
    Ok(connection)
}

fn open_as(path: &Path, access: OpenFlags, how: &str) -> Result<Connection> {
    let name = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{name}?{how}"), flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// The steps that a database has.
pub(super) fn applied(connection: &Connection) -> Result<Vec<Applied>> {
    let exists = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations')";
    if !connection.query_row(exists, [], |row| row.get(0))? {
        return Ok(Vec::new());
    }
    // Only one program uses a file at a time, so an older one never runs beside a newer one.
    let steps = "SELECT version, checksum, version FROM schema_migrations ORDER BY version";
    let mut statement = connection.prepare(steps)?;
    statement.query_and_then([], |row| Applied::new(&Row::sqlite(row)))?.collect()
}
