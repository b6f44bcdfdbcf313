//! Brings a database to the newest schema, in one transaction, one node at a time.

use tokio_postgres::Row;

use super::config::Config;
use super::dialect;
use super::fiber::Waits;
use super::session::{BEGIN_WRITE, Session};
use crate::migrate::{Applied, pending, version};
use crate::{Error, Migrated, Migration, Result};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    oldest BIGINT NOT NULL,
    applied_at BIGINT NOT NULL
)";

/// Any number that nobody else uses: `Postroom` in ASCII.
pub(super) const LOCK: i64 = i64::from_be_bytes(*b"Postroom");

pub(crate) fn run(config: &Config, schema: &[Migration], now: i64) -> Result<Migrated> {
    let mut session = Session::connect(Waits::thread()?, config, None)?;
    let seen = applied(&mut session)?;
    let from = version(&seen);
    if pending(schema, &seen)?.is_empty() {
        return Ok(Migrated { from, to: from, copy: None });
    }
    session.simple(BEGIN_WRITE)?;
    // Another node may be at it: this one waits, and finds it done.
    session.simple(&format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
         SELECT pg_advisory_xact_lock({LOCK}); {TABLE}"
    ))?;
    let seen = applied(&mut session)?;
    let from = version(&seen);
    for step in pending(schema, &seen)? {
        session.simple(&script(step, now))?;
    }
    let to = version(&applied(&mut session)?);
    session.commit()?;
    Ok(Migrated { from, to, copy: None })
}

/// A step, and the note that it was taken.
pub(super) fn script(step: &Migration, now: i64) -> String {
    // A step may end in a comment.
    format!(
        "{}
         ;
         INSERT INTO schema_migrations (version, name, checksum, oldest, applied_at)
         VALUES ({}, '{}', '{}', {}, {now})",
        dialect::schema(step.sql),
        step.version,
        step.name.replace('\'', "''"),
        step.checksum(),
        step.oldest,
    )
}

/// Refuses a database whose schema this program cannot work with.
pub(super) fn verify(config: &Config, schema: &[Migration]) -> Result<()> {
    let patience = std::time::Instant::now() + config.options.patience;
    let applied = applied(&mut Session::connect(Waits::thread()?, config, Some(patience))?)?;
    match pending(schema, &applied)?.last() {
        None => Ok(()),
        Some(last) => Err(Error::SchemaOlder { found: version(&applied), known: last.version }),
    }
}

fn applied(session: &mut Session<'_>) -> Result<Vec<Applied>> {
    let encoding = session.query("SELECT current_setting('server_encoding') = 'UTF8'", &[])?;
    if !encoding.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        return Err(Error::Unsupported("the database must have been created with ENCODING 'UTF8'"));
    }
    let there = session.query(THERE, &[])?;
    if !there.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        return Ok(Vec::new());
    }
    steps(&session.query(STEPS, &[])?)
}

/// Whether there is a table of steps.
pub(super) const THERE: &str = "SELECT to_regclass('schema_migrations') IS NOT NULL";
/// The steps in it.
pub(super) const STEPS: &str =
    "SELECT version, checksum, oldest FROM schema_migrations ORDER BY version";

/// From the rows of [`STEPS`].
pub(super) fn steps(rows: &[Row]) -> Result<Vec<Applied>> {
    let engine = |error: tokio_postgres::Error| Error::Engine(error.to_string());
    let rows = rows.iter().map(|row| {
        Ok(Applied { version: row.try_get(0)?, checksum: row.try_get(1)?, oldest: row.try_get(2)? })
    });
    rows.collect::<Result<_, _>>().map_err(engine)
}
