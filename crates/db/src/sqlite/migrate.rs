//! Migrates a file to the newest schema, in one transaction, after copying it.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

use super::connection::{self, Role};
use super::{backup, contents, files};
use crate::migrate::plan;
use crate::{Error, Migrated, Migration, Result};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT";

pub(crate) fn run(path: &Path, schema: &[Migration], now: i64) -> Result<Migrated> {
    // Only with the lock may anything be changed, even the journal mode.
    let (migrated, steps) = plan(schema, &contents::steps(path)?)?;
    if steps.is_empty() {
        return Ok(migrated);
    }
    // Neither a running server nor a second migration may use the file meanwhile.
    let _alone = files::lock(path)?;
    let is_new = create(path)?;
    let migrated = upgrade(path, schema, now);
    if is_new && migrated.is_err() {
        // Best effort: an empty file does no harm.
        drop(files::remove(path));
    }
    migrated
}

/// Migrates a file that is locked.
fn upgrade(path: &Path, schema: &[Migration], now: i64) -> Result<Migrated> {
    let mut connection = connection::open(path, Role::Writer)?;
    // Another process may have migrated it just before.
    let (mut migrated, steps) = plan(schema, &contents::applied(&connection)?)?;
    if steps.is_empty() {
        return Ok(migrated);
    }
    if migrated.from > 0 {
        let copy = path.with_added_extension(format!("before-{}", migrated.to));
        // A copy of an earlier attempt lacks later writes.
        files::remove(&copy)?;
        backup::make(path, &copy)?.keep()?;
        migrated.copy = Some(copy);
    }
    let committed = commit(&mut connection, steps, now);
    // The database is as it was then. Of a disk that fails, every copy is kept.
    if let (Err(error), Some(copy)) = (&committed, &migrated.copy)
        && !error.is_fatal()
    {
        files::remove(copy)?;
    }
    committed.map(|()| migrated)
}

fn commit(connection: &mut Connection, steps: &[Migration], now: i64) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    apply(&transaction, steps, now)?;
    Ok(transaction.commit()?)
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

/// Makes an empty file that only its owner may read; SQLite's files beside it get the same mode.
/// Returns whether there was none.
fn create(path: &Path) -> Result<bool> {
    match files::private().create_new(true).open(path) {
        Ok(_file) => Ok(true),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(cause) => Err(Error::file("create", path, &cause)),
    }
}
