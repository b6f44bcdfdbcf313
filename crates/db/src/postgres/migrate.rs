//! Migrates a database to the newest schema, in one transaction, one node at a time.

use super::connection::{BEGIN_WRITE, Connection};
use super::{config::Config, dialect, fiber::Waiter};
use crate::migrate::{Applied, plan, usable};
use crate::{Error, Migrated, Migration, Result, Row};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    oldest BIGINT NOT NULL,
    applied_at BIGINT NOT NULL
)";

/// Whether the table of steps is ours: other programs have one of that name, too.
const OURS: &str = "
    SELECT count(*) = 4 FROM pg_attribute
    WHERE attrelid = to_regclass('schema_migrations') AND NOT attisdropped
        AND attname IN ('version', 'checksum', 'oldest', 'applied_at')";

/// Whether there are other tables, which belong to no extension.
const HAS_OTHERS: &str = "
    SELECT EXISTS (
        SELECT 1 FROM pg_class AS tables
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
            AND relname <> 'schema_migrations' AND NOT EXISTS (
                SELECT 1 FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND objid = tables.oid AND deptype = 'e'
            )
    )";

/// The advisory lock of a migration: `Postroom` in ASCII.
pub(super) const LOCK: i64 = i64::from_be_bytes(*b"Postroom");

pub(crate) fn run(config: &Config, schema: &[Migration], now: i64) -> Result<Migrated> {
    let mut connection = Connection::open(Waiter::thread()?, config, None)?;
    let (migrated, steps) = plan(schema, &applied(&mut connection, config)?)?;
    if steps.is_empty() {
        return Ok(migrated);
    }
    connection.driver.simple(BEGIN_WRITE)?;
    // While another node migrates, this one waits, and then finds it done.
    connection.driver.simple(&format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
         SELECT pg_advisory_xact_lock({LOCK}); {TABLE}"
    ))?;
    let (migrated, steps) = plan(schema, &applied(&mut connection, config)?)?;
    if migrated.from == 0 && is(&mut connection, HAS_OTHERS)? {
        let what = "its schema holds the tables of another program, and this one needs its own";
        return Err(Error::NotOurs { database: config.to_string(), what });
    }
    steps.iter().try_for_each(|step| connection.driver.simple(&script(step, now)))?;
    connection.driver.commit()?;
    Ok(migrated)
}

/// The statements that apply a step and record it.
pub(super) fn script(step: &Migration, now: i64) -> String {
    // The line break is for a step that ends in a comment.
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

/// Refuses a database that this program cannot work with.
pub(super) fn verify(config: &Config, schema: &[Migration]) -> Result<()> {
    let deadline = std::time::Instant::now() + config.options.patience;
    let mut connection = Connection::open(Waiter::thread()?, config, Some(deadline))?;
    usable(schema, &applied(&mut connection, config)?)
}

/// The steps that a database has.
///
/// # Errors
/// [`Error::NotOurs`] where its table of steps is that of another program.
pub(super) fn applied(connection: &mut Connection<'_>, config: &Config) -> Result<Vec<Applied>> {
    if !is(connection, "SELECT current_setting('server_encoding') = 'UTF8'")? {
        return Err(Error::Unsupported("the database must have been created with ENCODING 'UTF8'"));
    }
    if !is(connection, "SELECT to_regclass('schema_migrations') IS NOT NULL")? {
        return Ok(Vec::new());
    }
    if !is(connection, OURS)? {
        let what = "the table schema_migrations is that of another program";
        return Err(Error::NotOurs { database: config.to_string(), what });
    }
    let steps = "SELECT version, checksum, oldest FROM schema_migrations ORDER BY version";
    let steps = connection.query(steps, &[])?;
    steps.iter().map(|row| Applied::new(&Row::postgres(row))).collect()
}

fn is(connection: &mut Connection<'_>, sql: &'static str) -> Result<bool> {
    Row::postgres(connection.query(sql, &[])?.first().ok_or(Error::NoRow)?).flag(0)
}
