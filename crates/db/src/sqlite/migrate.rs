//! Migrates a file to the newest schema, in one transaction, after copying it.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

use super::connection::{self, Role};
use super::{backup, files};
use crate::migrate::{Applied, plan};
use crate::{Error, Migrated, Migration, Result, Row};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT";

pub(crate) fn run(path: &Path, schema: &[Migration], now: i64) -> Result<Migrated> {
    create(path)?;
    // Read-only: only with the lock may anything be changed, even the journal mode.
    let (migrated, steps) = plan(schema, &applied(&connection::open(path, Role::Tool)?)?)?;
    if steps.is_empty() {
        return Ok(migrated);
    }
    // Neither a running server nor a second migration may use the file meanwhile.
    let _alone = files::lock(path)?;
    let mut connection = connection::open(path, Role::Writer)?;
    // Another process may have migrated it just before.
    let (mut migrated, steps) = plan(schema, &applied(&connection)?)?;
    if steps.is_empty() {
        return Ok(migrated);
    }
    let is_used = "SELECT EXISTS (SELECT 1 FROM sqlite_schema)";
    if connection.query_row(is_used, [], |row| row.get(0))? {
        let copy = path.with_added_extension(format!("before-{}", migrated.to));
        // A copy of an earlier attempt lacks later writes.
        files::remove(&copy)?;
        backup::run(path, &copy)?;
        migrated.copy = Some(copy);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    apply(&transaction, steps, now)?;
    transaction.commit()?;
    Ok(migrated)
}

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

/// Makes an empty file that only its owner may read; SQLite's files beside it get the same mode.
fn create(path: &Path) -> Result<()> {
    match files::private().create_new(true).open(path) {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => {
            Err(Error::file("create", path, &cause))
        }
        _ => Ok(()),
    }
}
