//! One of the two databases of a copy, whatever its engine.

use super::{Page, Table};
use crate::url::Place;
use crate::{Migration, Result, Url, postgres, sqlite};

pub(super) enum Side {
    Sqlite(sqlite::copy::File),
    Postgres(Box<postgres::copy::Link>),
}

impl Side {
    /// One snapshot of a database that nobody serves, and that nobody can write to meanwhile.
    pub(super) fn source(url: &Url, schema: &[Migration]) -> Result<Self> {
        Ok(match &url.place {
            Place::File(path) => Self::Sqlite(sqlite::copy::File::source(path, schema)?),
            Place::Server(config) => {
                Self::Postgres(Box::new(postgres::copy::Link::source(config, schema)?))
            }
        })
    }

    /// An empty database with the schema, which is nothing until it is kept.
    pub(super) fn target(url: &Url, schema: &[Migration], now: i64) -> Result<Self> {
        Ok(match &url.place {
            Place::File(path) => Self::Sqlite(sqlite::copy::File::target(path, schema, now)?),
            Place::Server(config) => {
                Self::Postgres(Box::new(postgres::copy::Link::target(config, schema, now)?))
            }
        })
    }

    /// All tables but that of the schema's versions, by name.
    pub(super) fn tables(&self) -> Result<Vec<Table>> {
        match self {
            Self::Sqlite(file) => file.tables(),
            Self::Postgres(link) => link.tables(),
        }
    }

    pub(super) fn count(&self, table: &Table) -> Result<u64> {
        let rows = match self {
            Self::Sqlite(file) => file.number(&table.count()),
            Self::Postgres(link) => link.number(&table.count()),
        };
        rows.map(i64::cast_unsigned)
    }

    /// The highest id that a table has ever given, 0 where it has given none.
    pub(super) fn given(&self, table: &Table, column: &str) -> Result<i64> {
        match self {
            Self::Sqlite(file) => file.given(table, column),
            Self::Postgres(link) => link.given(table, column),
        }
    }

    /// Has a table give only ids above this one.
    pub(super) fn give(&mut self, table: &Table, column: &str, given: i64) -> Result<()> {
        match self {
            Self::Sqlite(file) => file.give(table, given),
            Self::Postgres(link) => link.give(table, column, given),
        }
    }

    /// Reads all rows, in the order of the primary key.
    pub(super) fn read(
        &self,
        table: &Table,
        take: &mut dyn FnMut(&Page) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Sqlite(file) => file.read(table, take),
            Self::Postgres(link) => link.read(table, take),
        }
    }

    pub(super) fn write(&mut self, table: &Table, page: &Page) -> Result<()> {
        match self {
            Self::Sqlite(file) => file.write(table, page),
            Self::Postgres(link) => link.write(table, page),
        }
    }

    /// Ends the writing, before all of it is read back.
    pub(super) fn settle(&mut self, tables: &[Table]) -> Result<()> {
        match self {
            Self::Sqlite(file) => file.settle(),
            Self::Postgres(link) => link.settle(tables),
        }
    }

    /// Makes it the database.
    pub(super) fn keep(self) -> Result<()> {
        match self {
            Self::Sqlite(file) => file.keep(),
            Self::Postgres(link) => link.keep(),
        }
    }
}
