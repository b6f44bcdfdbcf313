//! A database on a server as the source or the target of a copy: one connection, one transaction.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio_postgres::Row as PgRow;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

use super::connection::{BEGIN_READ, BEGIN_WRITE, Connection};
use super::{config::Config, fiber::Waiter, migrate};
use crate::tables::{Listed, PAGE, Rows, Table, TableStore};
use crate::{Error, Migration, Result, Row, Value, migrate::exact};

/// How long to wait for sessions that have just been closed, but are still listed.
const CLOSING: Duration = Duration::from_secs(2);

/// The columns of all tables that belong to no extension, as [`Listed`].
const COLUMNS: &str = "
    SELECT tables.relname::text, columns.attname::text, format_type(columns.atttypid, NULL),
        coalesce(array_position(keys.conkey, columns.attnum), 0)::bigint,
        columns.attidentity <> ''
    FROM pg_class AS tables
    JOIN pg_attribute AS columns
        ON columns.attrelid = tables.oid AND columns.attnum > 0 AND NOT columns.attisdropped
    LEFT JOIN pg_constraint AS keys ON keys.conrelid = tables.oid AND keys.contype = 'p'
    WHERE tables.relnamespace = current_schema()::regnamespace
        AND tables.relkind IN ('r', 'p') AND NOT tables.relispartition
        AND tables.relname <> 'schema_migrations'
        AND NOT EXISTS (
            SELECT 1 FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = tables.oid AND deptype = 'e'
        )
    ORDER BY tables.relname, columns.attnum";

/// Sessions of servers, which have this name unless their address gives another.
const NODES: &str = "
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND application_name IN ('postroom', current_setting('application_name'))";

/// Refuses a database that a server uses.
pub(crate) fn is_unused(config: &Config) -> Result<()> {
    Transaction::connect(config).map(drop)
}

/// The transaction of a copy, on the calling thread and without a time limit.
pub(crate) struct Transaction {
    connection: Connection<'static>,
}

impl Transaction {
    pub(crate) fn source(config: &Config, schema: &[Migration]) -> Result<Self> {
        let mut copy = Self::connect(config)?;
        exact(schema, &migrate::applied(&mut copy.connection, config)?)?;
        let tables = copy.tables()?;
        copy.begin(BEGIN_READ, config)?;
        // Before the first query, which takes the snapshot.
        copy.lock(&tables, "SHARE", config)?;
        if tables != copy.tables()? {
            return Err(Error::NotCopied(format!("the schema of {config} is being changed")));
        }
        Ok(copy)
    }

    pub(crate) fn target(config: &Config, schema: &[Migration], now: i64) -> Result<Self> {
        let mut copy = Self::connect(config)?;
        copy.begin(BEGIN_WRITE, config)?;
        // The commit waits for the disk, and for that of a standby if there is one.
        copy.run(&format!(
            "SELECT set_config('synchronous_commit', 'on', true)
             WHERE current_setting('synchronous_commit') IN ('off', 'local');
             SELECT pg_advisory_xact_lock({})",
            migrate::LOCK
        ))?;
        let steps = migrate::applied(&mut copy.connection, config)?;
        if steps.is_empty() {
            copy.run(migrate::TABLE)?;
            schema.iter().try_for_each(|step| copy.run(&migrate::script(step, now)))?;
            // Rows that the migrations insert come from the source, if they still exist there.
            copy.tables()?.iter().try_for_each(|table| copy.run(&table.clear()))?;
            return Ok(copy);
        }
        exact(schema, &steps)?;
        let tables = copy.tables()?;
        copy.lock(&tables, "EXCLUSIVE", config)?;
        for table in &tables {
            if copy.number(&format!("SELECT EXISTS (SELECT 1 FROM {})", table.quoted()))? > 0 {
                let problem = format!("{config} is not empty: it has rows in {}", table.name);
                return Err(Error::NotCopied(problem));
            }
        }
        Ok(copy)
    }

    /// The database of another program, in one snapshot.
    pub(crate) fn theirs(config: &Config) -> Result<Self> {
        let mut theirs = Self { connection: Connection::open(Waiter::thread()?, config, None)? };
        theirs.begin(BEGIN_READ, config)?;
        theirs.run("SET LOCAL TIME ZONE 'UTC'; SET LOCAL datestyle = 'ISO'")?;
        Ok(theirs)
    }

    /// Connects to a database that no server uses.
    fn connect(config: &Config) -> Result<Self> {
        let connection = Connection::open(Waiter::thread()?, config, None)?;
        let (mut copy, begun) = (Self { connection }, Instant::now());
        while copy.number(NODES)? > 0 {
            if begun.elapsed() > CLOSING {
                return Err(Error::NotAlone(config.to_string()));
            }
            copy.run("SELECT pg_sleep(0.1)")?;
        }
        Ok(copy)
    }

    fn begin(&mut self, begin: &str, config: &Config) -> Result<()> {
        let locks = config.options.lock_timeout.as_millis();
        self.run(&format!(
            "{begin};
             SET LOCAL statement_timeout = 0;
             SET LOCAL idle_in_transaction_session_timeout = 0;
             SET LOCAL lock_timeout = {locks}"
        ))
    }

    fn lock(&mut self, tables: &[Table], mode: &str, config: &Config) -> Result<()> {
        let names = tables.iter().map(Table::quoted).chain(["schema_migrations".to_owned()]);
        let names = names.collect::<Vec<_>>().join(", ");
        self.run(&format!("LOCK TABLE {names} IN {mode} MODE")).map_err(|error| match error {
            Error::Busy => Error::NotCopied(format!("somebody is writing to {config}")),
            other => other,
        })
    }

    /// The sequence of a column, as it is written in a statement.
    fn sequence(&mut self, table: &Table, column: &str) -> Result<String> {
        let literal = |text: &str| text.replace('\'', "''");
        let sequence = self.rows(&format!(
            "SELECT pg_get_serial_sequence('{}', '{}')",
            literal(&table.quoted()),
            literal(column)
        ))?;
        Ok(Row::postgres(sequence.first().ok_or(Error::NoRow)?).text(0)?.to_owned())
    }

    fn run(&mut self, sql: &str) -> Result<()> {
        self.connection.driver.simple(sql)
    }

    /// Gives `take` all rows of a statement, a page at a time.
    pub(crate) fn pages(
        &mut self,
        sql: &str,
        columns: usize,
        take: &mut dyn FnMut(&Rows<'_>) -> Result<()>,
    ) -> Result<()> {
        let driver = &mut self.connection.driver;
        let client = driver.client();
        let sent = client.query_typed_raw(sql, Vec::<(Value<'_>, Type)>::new());
        let mut rows = pin!(driver.wait(sent)?.fuse());
        loop {
            let (mut page, mut bytes) = (Vec::new(), 0);
            // The server keeps the other rows until they are taken.
            driver.wait(async {
                while bytes < PAGE
                    && let Some(row) = rows.try_next().await?
                {
                    bytes += row.raw_size_bytes();
                    page.push(row);
                }
                Ok(())
            })?;
            if page.is_empty() {
                return Ok(());
            }
            let page = page.iter().map(|row| Row::postgres(row).values(columns));
            take(&page.collect::<Result<Vec<_>>>()?)?;
        }
    }

    fn rows(&mut self, sql: &str) -> Result<Vec<PgRow>> {
        let driver = &mut self.connection.driver;
        driver.wait(driver.client().query_typed(sql, &[]))
    }
}

impl TableStore for Transaction {
    fn tables(&mut self) -> Result<Vec<Table>> {
        let listed = self.rows(COLUMNS)?;
        let listed = listed.iter().map(|row| Listed::new(&Row::postgres(row)));
        Table::all(&listed.collect::<Result<Vec<_>>>()?)
    }

    fn number(&mut self, sql: &str) -> Result<i64> {
        Row::postgres(self.rows(sql)?.first().ok_or(Error::NoRow)?).int(0)
    }

    fn last_id(&mut self, table: &Table, column: &str) -> Result<i64> {
        let sequence = self.sequence(table, column)?;
        let recorded = self.number(&format!(
            "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence}"
        ))?;
        Ok(recorded.max(self.number(&table.highest(column))?))
    }

    fn set_last_id(&mut self, table: &Table, column: &str, id: i64) -> Result<()> {
        let sequence = self.sequence(table, column)?;
        // After the highest possible id, the next insert fails, as it does in the source.
        let next = id.saturating_add(1);
        // Unlike `setval`, this is undone with the transaction.
        self.run(&format!("ALTER SEQUENCE {sequence} RESTART WITH {next}"))
    }

    fn read(&mut self, table: &Table, take: &mut dyn FnMut(&Rows<'_>) -> Result<()>) -> Result<()> {
        self.pages(&table.select(), table.columns.len(), take)
    }

    fn write(&mut self, table: &Table, rows: &Rows<'_>) -> Result<()> {
        let (name, list) = (table.quoted(), table.list());
        let sql = format!("COPY {name} ({list}) FROM STDIN BINARY");
        let types: Vec<_> = table.columns.iter().map(|column| column.kind.clone()).collect();
        let driver = &mut self.connection.driver;
        let client = driver.client();
        driver.wait(async {
            let sink = client.copy_in::<_, Bytes>(&sql).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
            for row in rows {
                writer.as_mut().write_raw(row).await?;
            }
            writer.finish().await.map(drop)
        })
    }

    /// Analyzes the tables, so that the first queries have good plans.
    fn finish(&mut self, tables: &[Table]) -> Result<()> {
        tables.iter().try_for_each(|table| self.run(&format!("ANALYZE {}", table.quoted())))
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        self.connection.driver.commit().map_err(|error| match error {
            Error::Unavailable(_) => Error::Unknown,
            other => other,
        })
    }
}
