//! Brings a file to the newest schema, in one transaction, after a copy of it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

use super::connection::{self, Kind};
use super::{backup, lock};
use crate::migrate::{Applied, newest, pending, version};
use crate::{Error, Migrated, Migration, Result};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT";

pub(crate) fn run(path: &Path, schema: &[Migration], now: i64) -> Result<Migrated> {
    create(path)?;
    // Only a look: whoever changes anything, be it the kind of journal, must be alone.
    let seen = applied(&connection::open(path, Kind::Tool)?)?;
    let from = version(&seen);
    if pending(schema, &seen)?.is_empty() {
        return Ok(Migrated { from, to: from, copy: None });
    }
    // A server that runs must not have its schema changed under it, nor two begin at once.
    let alone = lock(path)?;
    let mut connection = connection::open(path, Kind::Writer)?;
    // Somebody else may have done it just before.
    let seen = applied(&connection)?;
    let from = version(&seen);
    let steps = pending(schema, &seen)?;
    let Some(last) = steps.last() else { return Ok(Migrated { from, to: from, copy: None }) };

    let something: bool =
        connection
            .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?;
    let copy = something.then(|| path.with_added_extension(format!("before-{}", last.version)));
    if let Some(copy) = &copy {
        // One of an earlier attempt lacks what was written since.
        match fs::remove_file(copy) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(Error::file("remove", copy, &cause));
            }
            _ => backup::run(path, copy)?,
        }
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    apply(&transaction, steps, now)?;
    transaction.commit()?;
    drop(alone);
    Ok(Migrated { from, to: last.version, copy })
}

/// Takes the steps, in the transaction that is open.
pub(super) fn apply(connection: &Connection, steps: &[Migration], now: i64) -> Result<()> {
    connection.execute_batch(TABLE)?;
    for step in steps {
        connection.execute_batch(step.sql)?;
        connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum, applied_at)
             VALUES (?1, ?2, ?3, ?4)",
            params![step.version, step.name, step.checksum(), now],
        )?;
    }
    Ok(())
}

/// Refuses a database that has not seen just the steps of `schema`.
pub(super) fn exactly(connection: &Connection, schema: &[Migration]) -> Result<()> {
    newest(schema, &applied(connection)?)
}

/// Refuses a database whose schema is not exactly `schema`.
pub(crate) fn verify(connection: &Connection, schema: &[Migration]) -> Result<()> {
    let applied = applied(connection)?;
    match pending(schema, &applied)?.last() {
        None => Ok(()),
        Some(last) => Err(Error::SchemaOlder { found: version(&applied), known: last.version }),
    }
}

fn applied(connection: &Connection) -> Result<Vec<Applied>> {
    let there: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations')",
        [],
        |row| row.get(0),
    )?;
    if !there {
        return Ok(Vec::new());
    }
    let mut statement =
        connection.prepare("SELECT version, checksum FROM schema_migrations ORDER BY version")?;
    // A file has one program at a time, so an older one never goes on beside a newer one.
    let rows = statement.query_map([], |row| {
        let version = row.get(0)?;
        Ok(Applied { version, checksum: row.get(1)?, oldest: version })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Makes an empty file that only its owner may read; the engine's other files take after it.
fn create(path: &Path) -> Result<()> {
    let made = fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_file) => Ok(()),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(cause) => Err(Error::file("create", path, &cause)),
    }
}
