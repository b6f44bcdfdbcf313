//! A file as one side of a copy into another engine, or out of it.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::connection::{self, Kind as For};
use super::restore::{beside, remove};
use super::{Lock, backup, lock, migrate};
use crate::copy::{Column, Kind, Page, Table};
use crate::{Error, Migration, Result};

/// A file that nobody else serves or changes.
pub(crate) struct File {
    connection: Connection,
    /// What is written, until it is kept.
    building: Option<Building>,
    _lock: Lock,
}

/// A file that has another name until it is whole.
struct Building {
    path: PathBuf,
    partial: PathBuf,
}

impl Drop for Building {
    /// Removes what was not kept. Best effort: it is named `.partial` and is no database.
    fn drop(&mut self) {
        drop(clean(&self.partial));
    }
}

impl File {
    pub(crate) fn source(path: &Path, schema: &[Migration]) -> Result<Self> {
        if !path.is_file() {
            return Err(Error::File(format!("there is no database at {}", path.display())));
        }
        let lock = lock(path)?;
        // An index that lacks a row would hide it from the copy and from the check.
        if let Some(problem) = backup::integrity(path)?.into_iter().next() {
            return Err(Error::Damaged { path: path.to_path_buf(), problem });
        }
        let connection = connection::open(path, For::Tool)?;
        migrate::exactly(&connection, schema)?;
        // Commands write beside a server, and without its lock. Nothing is written here; but only
        // who might write can keep others from it.
        connection.execute_batch("PRAGMA query_only = OFF; BEGIN IMMEDIATE")?;
        Ok(Self { connection, building: None, _lock: lock })
    }

    pub(crate) fn target(path: &Path, schema: &[Migration], now: i64) -> Result<Self> {
        // Before the lock makes a file, and again with it.
        absent(path)?;
        let lock = lock(path)?;
        absent(path)?;
        let partial = backup::partial(path);
        clean(&partial)?;
        drop(backup::create_private(&partial)?);
        let building = Building { path: path.to_path_buf(), partial };
        let connection = connection::open(&building.partial, For::Tool)?;
        // What is lost with the process, or with the machine, is not kept anyway.
        connection.execute_batch(
            "PRAGMA query_only = OFF;
             PRAGMA journal_mode = OFF;
             PRAGMA synchronous = OFF;
             PRAGMA cache_size = -64000;
             BEGIN EXCLUSIVE",
        )?;
        migrate::apply(&connection, schema, now)?;
        let file = Self { connection, building: Some(building), _lock: lock };
        for table in file.tables()? {
            // What a step puts in is at the source, if it still is.
            file.connection.execute(&table.clear(), [])?;
        }
        Ok(file)
    }

    pub(crate) fn tables(&self) -> Result<Vec<Table>> {
        // The same text by which the other engine is told.
        const TABLES: &str = "
            SELECT name, instr(sql, 'INTEGER PRIMARY KEY AUTOINCREMENT') > 0 FROM sqlite_schema
            WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'
                AND name <> 'schema_migrations'
            ORDER BY name";
        let mut statement = self.connection.prepare(TABLES)?;
        let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let found = found.collect::<rusqlite::Result<Vec<(String, bool)>>>()?;
        found.into_iter().map(|(name, gives)| self.table(name, gives)).collect()
    }

    fn table(&self, name: String, gives: bool) -> Result<Table> {
        let mut statement =
            self.connection.prepare("SELECT name, type, pk FROM pragma_table_info(?1)")?;
        let rows = statement.query_map([&name], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })?;
        let (mut columns, mut key) = (Vec::new(), Vec::new());
        for row in rows {
            let (column, kind, place) = row?;
            let kind = match kind.as_str() {
                "INTEGER" | "INT" => Kind::Int,
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Blob,
                _ => return Err(Error::NotCopied(format!("{name}.{column} is a {kind}"))),
            };
            if place > 0 {
                key.push((place, column.clone()));
            }
            columns.push(Column { name: column, kind });
        }
        key.sort();
        let key: Vec<_> = key.into_iter().map(|(_place, column)| column).collect();
        let gives = key.first().filter(|_first| gives).cloned();
        Ok(Table { name, columns, key, gives })
    }

    /// The whole number that a statement answers.
    pub(crate) fn number(&self, sql: &str) -> Result<i64> {
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    pub(crate) fn given(&self, table: &Table, column: &str) -> Result<i64> {
        let noted: i64 = self.connection.query_row(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1",
            [&table.name],
            |row| row.get(0),
        )?;
        Ok(noted.max(self.number(&table.highest(column))?))
    }

    pub(crate) fn give(&self, table: &Table, given: i64) -> Result<()> {
        self.connection.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [&table.name])?;
        self.connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)",
            rusqlite::params![table.name, given],
        )?;
        Ok(())
    }

    pub(crate) fn read(
        &self,
        table: &Table,
        take: &mut dyn FnMut(&Page) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare(&table.select())?;
        let mut rows = statement.query([])?;
        let mut page = Page::default();
        while let Some(row) = rows.next()? {
            for (index, column) in table.columns.iter().enumerate() {
                match (row.get_ref(index)?, column.kind) {
                    (ValueRef::Null, _) => page.null(),
                    (ValueRef::Integer(int), Kind::Int) => page.int(int),
                    (ValueRef::Text(text), Kind::Text) => page.text(text),
                    (ValueRef::Blob(bytes), Kind::Blob) => page.blob(bytes),
                    _ => {
                        let problem = format!("{} holds another type", column.name);
                        return Err(Error::Engine(problem));
                    }
                }
            }
            page.end_row();
            if page.is_full() {
                take(&page)?;
                page.clear();
            }
        }
        if page.is_empty() { Ok(()) } else { take(&page) }
    }

    pub(crate) fn write(&self, table: &Table, page: &Page) -> Result<()> {
        let places: Vec<_> = (1..=table.columns.len()).map(|place| format!("?{place}")).collect();
        let (name, list, places) = (table.quoted(), table.list(), places.join(", "));
        let mut statement = self
            .connection
            .prepare_cached(&format!("INSERT INTO {name} ({list}) VALUES ({places})"))?;
        let (mut cells, mut row) = (page.cells(table.columns.len()), Vec::new());
        while cells.next(&mut row)? {
            statement.execute(rusqlite::params_from_iter(&row))?;
        }
        Ok(())
    }

    /// Closes what was written, and opens it to read.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let Some(building) = &self.building else { return Ok(()) };
        self.connection.execute_batch("COMMIT")?;
        self.connection = connection::open(&building.partial, For::Tool)?;
        backup::sync(&building.partial)?;
        match backup::integrity(&building.partial)?.into_iter().next() {
            None => Ok(()),
            Some(problem) => Err(Error::Damaged { path: building.partial.clone(), problem }),
        }
    }

    pub(crate) fn keep(self) -> Result<()> {
        let Self { connection, building, _lock } = self;
        drop(connection);
        let Some(building) = building else { return Ok(()) };
        absent(&building.path)?;
        fs::rename(&building.partial, &building.path)
            .map_err(|cause| Error::file("rename", &building.partial, &cause))?;
        backup::sync_folder(&building.path)
    }
}

/// Refuses a place where a database is, or what is left of one: its log must never meet another.
fn absent(path: &Path) -> Result<()> {
    for rest in ["", "-wal", "-journal"] {
        let file = beside(path, rest);
        if file.exists() {
            return Err(Error::Exists(file));
        }
    }
    Ok(())
}

/// Removes what a copy has written that was killed.
fn clean(partial: &Path) -> Result<()> {
    ["", "-wal", "-shm", "-journal"].iter().try_for_each(|rest| remove(&beside(partial, rest)))
}
