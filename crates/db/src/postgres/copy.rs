//! A database on a server as one side of a copy: one connection, one transaction.

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, Row};

use super::catalog::Catalog;
use super::config::Config;
use super::{failure, migrate};
use crate::copy::{Column, Kind, Page, Table, quote};
use crate::migrate::newest;
use crate::{Error, Migration, Result, Value};

/// How long a session is still listed that has just been closed.
const CLOSING: Duration = Duration::from_secs(2);

/// Tables and their columns, in their order, without those of extensions: name, column, type,
/// place in the primary key, whether the engine gives its values.
const TABLES: &str = "
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

/// Sessions of servers. They have this name, where their address gives them no other.
const NODES: &str = "
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND application_name IN ('postroom', current_setting('application_name'))";

/// The connection of a copy, on the thread that asks; it has all the time that it needs.
pub(crate) struct Link {
    client: Client,
    runtime: Runtime,
}

impl Link {
    pub(crate) fn source(config: &Config, schema: &[Migration]) -> Result<Self> {
        let link = Self::connect(config)?;
        link.is_alone(config)?;
        newest(schema, &link.steps()?)?;
        let tables = link.tables()?;
        link.begin("ISOLATION LEVEL REPEATABLE READ, READ ONLY", config)?;
        // Before the first look, which is the snapshot.
        link.lock(&tables, "SHARE", config)?;
        if tables != link.tables()? {
            return Err(Error::NotCopied(format!("the schema of {config} is being changed")));
        }
        Ok(link)
    }

    pub(crate) fn target(config: &Config, schema: &[Migration], now: i64) -> Result<Self> {
        let link = Self::connect(config)?;
        link.is_alone(config)?;
        link.begin("ISOLATION LEVEL READ COMMITTED, READ WRITE", config)?;
        // A commit is on the disk, of a standby too where there is one, when it is answered.
        link.run(&format!(
            "SELECT set_config('synchronous_commit', 'on', true)
             WHERE current_setting('synchronous_commit') IN ('off', 'local');
             SELECT pg_advisory_xact_lock({})",
            migrate::LOCK
        ))?;
        let steps = link.steps()?;
        if steps.is_empty() {
            link.run(migrate::TABLE)?;
            schema.iter().try_for_each(|step| link.run(&migrate::script(step, now)))?;
            for table in link.tables()? {
                // What a step puts in is at the source, if it still is.
                link.run(&table.clear())?;
            }
            return Ok(link);
        }
        newest(schema, &steps)?;
        let tables = link.tables()?;
        link.lock(&tables, "EXCLUSIVE", config)?;
        for table in &tables {
            if link.one(&table.any())? {
                let problem = format!("{config} is not empty: there are rows in {}", table.name);
                return Err(Error::NotCopied(problem));
            }
        }
        Ok(link)
    }

    fn connect(config: &Config) -> Result<Self> {
        let tls = config.server.tls()?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Error::File(format!("cannot start a runtime: {cause}")))?;
        let (client, connection) = runtime.block_on(config.server.connect(&tls))?;
        // Its end is that of whatever is asked of it.
        runtime.spawn(async { drop(connection.await) });
        Ok(Self { client, runtime })
    }

    /// Refuses a database that servers are using.
    fn is_alone(&self, config: &Config) -> Result<()> {
        let begun = std::time::Instant::now();
        while self.one::<i64>(NODES)? > 0 {
            if begun.elapsed() > CLOSING {
                let problem = format!("a server is using {config}: stop all of them first");
                return Err(Error::NotCopied(problem));
            }
            self.run("SELECT pg_sleep(0.1)")?;
        }
        Ok(())
    }

    fn begin(&self, mode: &str, config: &Config) -> Result<()> {
        let locks = config.options.lock_timeout.as_millis();
        self.run(&format!(
            "BEGIN {mode};
             SET LOCAL statement_timeout = 0;
             SET LOCAL idle_in_transaction_session_timeout = 0;
             SET LOCAL lock_timeout = {locks}"
        ))
    }

    fn lock(&self, tables: &[Table], mode: &str, config: &Config) -> Result<()> {
        let names = tables.iter().map(Table::quoted).chain(["schema_migrations".to_owned()]);
        let names = names.collect::<Vec<_>>().join(", ");
        self.run(&format!("LOCK TABLE {names} IN {mode} MODE")).map_err(|error| match error {
            Error::Busy => Error::NotCopied(format!("somebody is writing to {config}")),
            other => other,
        })
    }

    fn steps(&self) -> Result<Vec<crate::migrate::Applied>> {
        if self.one(migrate::THERE)? {
            migrate::steps(&self.rows(migrate::STEPS)?)
        } else {
            Ok(Vec::new())
        }
    }

    pub(crate) fn tables(&self) -> Result<Vec<Table>> {
        let mut tables: Vec<(Table, Vec<(i64, String)>)> = Vec::new();
        for row in self.rows(TABLES)? {
            let (name, column, kind): (String, String, String) =
                (get(&row, 0)?, get(&row, 1)?, get(&row, 2)?);
            let kind = match kind.as_str() {
                "bigint" => Kind::Int,
                "text" => Kind::Text,
                "bytea" => Kind::Blob,
                _ => return Err(Error::NotCopied(format!("{name}.{column} is a {kind}"))),
            };
            let is_new = tables.last().is_none_or(|(table, _)| table.name != name);
            if is_new {
                let table = Table { name, columns: Vec::new(), key: Vec::new(), gives: None };
                tables.push((table, Vec::new()));
            }
            let Some((table, key)) = tables.last_mut() else { continue };
            let place = get(&row, 3)?;
            if place > 0 {
                key.push((place, column.clone()));
            }
            if get(&row, 4)? {
                table.gives = Some(column.clone());
            }
            table.columns.push(Column { name: column, kind });
        }
        let tables = tables.into_iter().map(|(mut table, mut key)| {
            key.sort();
            table.key = key.into_iter().map(|(_place, column)| column).collect();
            table
        });
        Ok(tables.collect())
    }

    /// The whole number that a statement answers.
    pub(crate) fn number(&self, sql: &str) -> Result<i64> {
        self.one(sql)
    }

    /// The name of the sequence of a column, as it is written in a statement.
    fn sequence(&self, table: &Table, column: &str) -> Result<String> {
        let literal = |text: String| text.replace('\'', "''");
        self.one(&format!(
            "SELECT pg_get_serial_sequence('{}', '{}')",
            literal(quote(&table.name)),
            literal(column.to_owned())
        ))
    }

    pub(crate) fn given(&self, table: &Table, column: &str) -> Result<i64> {
        let sequence = self.sequence(table, column)?;
        let noted: i64 = self.one(&format!(
            "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence}"
        ))?;
        Ok(noted.max(self.one(&table.highest(column))?))
    }

    pub(crate) fn give(&self, table: &Table, column: &str, given: i64) -> Result<()> {
        let sequence = self.sequence(table, column)?;
        // After the last of all there is none: the next insert fails, as it does at the source.
        let next = given.saturating_add(1);
        // Unlike `setval` it is undone with the transaction.
        self.run(&format!("ALTER SEQUENCE {sequence} RESTART WITH {next}"))
    }

    pub(crate) fn read(
        &self,
        table: &Table,
        take: &mut dyn FnMut(&Page) -> Result<()>,
    ) -> Result<()> {
        let sql = table.select();
        let asked = self.client.query_typed_raw(&sql, Vec::<(Value<'_>, Type)>::new());
        let mut rows = pin!(self.wait(asked)?);
        let mut page = Page::default();
        loop {
            // What has not been taken yet stays with the server.
            let more = self.runtime.block_on(async {
                while !page.is_full() {
                    match rows.try_next().await {
                        Ok(Some(row)) => add(&mut page, table, &row)?,
                        Ok(None) => return Ok(false),
                        Err(error) => return Err(sort(&error)),
                    }
                }
                Ok(true)
            })?;
            if !page.is_empty() {
                take(&page)?;
            }
            if !more {
                return Ok(());
            }
            page.clear();
        }
    }

    pub(crate) fn write(&self, table: &Table, page: &Page) -> Result<()> {
        let (name, list) = (table.quoted(), table.list());
        let sql = format!("COPY {name} ({list}) FROM STDIN BINARY");
        let kinds: Vec<_> = table.columns.iter().map(|column| kind(column.kind)).collect();
        self.runtime.block_on(async {
            let sink = self.client.copy_in::<_, Bytes>(&sql).await;
            let mut writer =
                pin!(BinaryCopyInWriter::new(sink.map_err(|error| sort(&error))?, &kinds));
            let (mut cells, mut row) = (page.cells(kinds.len()), Vec::new());
            while cells.next(&mut row)? {
                let written = writer.as_mut().write_raw(&row).await;
                written.map_err(|error| sort(&error))?;
            }
            writer.finish().await.map(drop).map_err(|error| sort(&error))
        })
    }

    /// Lets the planner know the tables before anybody asks for anything.
    pub(crate) fn settle(&self, tables: &[Table]) -> Result<()> {
        tables.iter().try_for_each(|table| self.run(&format!("ANALYZE {}", table.quoted())))
    }

    pub(crate) fn keep(self) -> Result<()> {
        self.run("COMMIT").map_err(|error| match error {
            Error::Unavailable(_) => Error::Unknown,
            other => other,
        })
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.wait(self.client.batch_execute(sql))
    }

    fn rows(&self, sql: &str) -> Result<Vec<Row>> {
        self.wait(self.client.query_typed(sql, &[]))
    }

    /// The one value that a statement answers.
    fn one<T: for<'a> FromSql<'a>>(&self, sql: &str) -> Result<T> {
        get(self.rows(sql)?.first().ok_or(Error::NoRow)?, 0)
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        self.runtime.block_on(answer).map_err(|error| sort(&error))
    }
}

fn sort(error: &tokio_postgres::Error) -> Error {
    failure::sort(error, &Catalog::default(), false).0
}

fn get<T: for<'a> FromSql<'a>>(row: &Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|error| engine(&error))
}

fn engine(problem: &impl Display) -> Error {
    Error::Engine(problem.to_string())
}

fn kind(kind: Kind) -> Type {
    match kind {
        Kind::Int => Type::INT8,
        Kind::Text => Type::TEXT,
        Kind::Blob => Type::BYTEA,
    }
}

/// What a column holds, as it came.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(
        _kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(kind)
    }
}

fn add(page: &mut Page, table: &Table, row: &Row) -> Result<()> {
    for (index, column) in table.columns.iter().enumerate() {
        let cell: Option<Raw<'_>> = row.try_get(index).map_err(|error| engine(&error))?;
        match (cell, column.kind) {
            (None, _) => page.null(),
            (Some(Raw(raw)), Kind::Int) => {
                let int = raw.try_into().map_err(|error| engine(&error))?;
                page.int(i64::from_be_bytes(int));
            }
            (Some(Raw(raw)), Kind::Text) => page.text(raw),
            (Some(Raw(raw)), Kind::Blob) => page.blob(raw),
        }
    }
    page.end_row();
    Ok(())
}
