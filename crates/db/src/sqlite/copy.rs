//! A file as the source or the target of a copy.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::connection::{self, Role};
use super::files::{self, Lock, Partial, beside, sync};
use super::{backup, contents, migrate};
use crate::tables::{Listed, PAGE, Rows, Table, TableStore};
use crate::{Error, Migration, Result, Row, Value, migrate::exact, value::OwnedValue};

/// A file that nobody else uses or changes.
pub(crate) struct File {
    connection: Connection,
    /// The target and its path, until it is committed.
    building: Option<(Partial, PathBuf)>,
    _lock: Lock,
}

impl File {
    pub(crate) fn source(path: &Path, schema: &[Migration]) -> Result<Self> {
        if !path.exists() {
            return Err(Error::File(format!("there is no database at {}", path.display())));
        }
        contents::confirm(path)?;
        let lock = files::lock(path)?;
        // An index that lacks a row would hide it from both the copy and the check.
        backup::intact(path, path)?;
        let connection = connection::open(path, Role::Tool)?;
        exact(schema, &contents::applied(&connection)?)?;
        // Commands may write without the lock of a server. A write transaction keeps them away,
        // though nothing is written here.
        connection.execute_batch("PRAGMA query_only = OFF; BEGIN IMMEDIATE")?;
        Ok(Self { connection, building: None, _lock: lock })
    }

    /// Refuses what cannot be a target.
    pub(crate) fn confirm_target(path: &Path) -> Result<()> {
        files::confirm_new_name(path)?;
        absent(path)
    }

    pub(crate) fn target(path: &Path, schema: &[Migration], now: i64) -> Result<Self> {
        let lock = files::lock(path)?;
        absent(path)?;
        let partial = Partial::create(path)?;
        let connection = connection::open(&partial.path, Role::Tool)?;
        // Durability does not matter before the commit, which syncs the file.
        connection.execute_batch(
            "PRAGMA query_only = OFF;
             PRAGMA journal_mode = OFF;
             PRAGMA synchronous = OFF;
             PRAGMA cache_size = -64000;
             BEGIN EXCLUSIVE",
        )?;
        migrate::apply(&connection, schema, now)?;
        let building = Some((partial, path.to_path_buf()));
        let mut file = Self { connection, building, _lock: lock };
        for table in file.tables()? {
            // Rows that the migrations insert come from the source, if they still exist there.
            file.connection.execute(&table.clear(), [])?;
        }
        Ok(file)
    }
}

impl TableStore for File {
    fn tables(&mut self) -> Result<Vec<Table>> {
        // PostgreSQL's schema is translated from the same words.
        const COLUMNS: &str = "
            SELECT tables.name, columns.name, columns.type, columns.pk,
                columns.pk = 1 AND instr(tables.sql, 'INTEGER PRIMARY KEY AUTOINCREMENT') > 0
            FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
            WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite!_%' ESCAPE '!'
                AND tables.name <> 'schema_migrations'
            ORDER BY tables.name, columns.cid";
        let mut statement = self.connection.prepare(COLUMNS)?;
        let listed = statement.query_and_then([], |row| Listed::new(&Row::sqlite(row)))?;
        Table::all(&listed.collect::<Result<Vec<_>>>()?)
    }

    fn number(&mut self, sql: &str) -> Result<i64> {
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    fn last_id(&mut self, table: &Table, column: &str) -> Result<i64> {
        let recorded: i64 = self.connection.query_row(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1",
            [&table.name],
            |row| row.get(0),
        )?;
        Ok(recorded.max(self.number(&table.highest(column))?))
    }

    fn set_last_id(&mut self, table: &Table, _column: &str, id: i64) -> Result<()> {
        self.connection.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [&table.name])?;
        self.connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)",
            rusqlite::params![table.name, id],
        )?;
        Ok(())
    }

    fn read(&mut self, table: &Table, take: &mut dyn FnMut(&Rows<'_>) -> Result<()>) -> Result<()> {
        pages(&self.connection, &table.select(), table.columns.len(), take)
    }

    fn write(&mut self, table: &Table, rows: &Rows<'_>) -> Result<()> {
        let places: Vec<_> = (1..=table.columns.len()).map(|place| format!("?{place}")).collect();
        let (name, list, places) = (table.quoted(), table.list(), places.join(", "));
        let mut statement =
            self.connection.prepare(&format!("INSERT INTO {name} ({list}) VALUES ({places})"))?;
        for row in rows {
            statement.execute(rusqlite::params_from_iter(row))?;
        }
        Ok(())
    }

    fn finish(&mut self, _tables: &[Table]) -> Result<()> {
        let Some((partial, _path)) = &self.building else { return Ok(()) };
        self.connection.execute_batch("COMMIT")?;
        self.connection = connection::open(&partial.path, Role::Tool)?;
        sync(&partial.path)?;
        backup::intact(&partial.path, &partial.path)
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Self { connection, building, _lock } = *self;
        drop(connection);
        let Some((partial, path)) = building else { return Ok(()) };
        absent(&path)?;
        partial.rename(&path)
    }
}

/// Gives `take` all rows of a statement, a page at a time.
fn pages(
    connection: &Connection,
    sql: &str,
    columns: usize,
    take: &mut dyn FnMut(&Rows<'_>) -> Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    loop {
        let (mut page, mut bytes) = (Vec::new(), 0);
        while bytes < PAGE
            && let Some(row) = rows.next()?
        {
            let values = Row::sqlite(row).values(columns)?;
            bytes += values.iter().map(size).sum::<usize>();
            page.push(values.iter().map(OwnedValue::from).collect::<Vec<_>>());
        }
        if page.is_empty() {
            return Ok(());
        }
        let page = page.iter().map(|row| row.iter().map(OwnedValue::borrow).collect());
        take(&page.collect::<Vec<_>>())?;
    }
}

/// The file of another program, in one snapshot.
pub(crate) struct Theirs {
    connection: Connection,
}

impl Theirs {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Err(Error::File(format!("there is no file {}", path.display())));
        }
        let connection = contents::open_theirs(path)?;
        connection.execute_batch("BEGIN")?;
        Ok(Self { connection })
    }

    pub(crate) fn pages(
        &self,
        sql: &str,
        columns: usize,
        take: &mut dyn FnMut(&Rows<'_>) -> Result<()>,
    ) -> Result<()> {
        pages(&self.connection, sql, columns, take)
    }
}

/// Refuses a path with a database or its remains: a log must never meet another database.
fn absent(path: &Path) -> Result<()> {
    for rest in ["", "-wal", "-journal"] {
        let file = beside(path, rest);
        if file.exists() {
            return Err(Error::Exists(file));
        }
    }
    Ok(())
}

/// The approximate size of a value in memory.
fn size(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => 16 + text.len(),
        Value::Blob(bytes) => 16 + bytes.len(),
        _ => 16,
    }
}
