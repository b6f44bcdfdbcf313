//! Tables as a copy between databases sees them, and what it needs of either engine.

use tokio_postgres::types::Type;

use crate::{Error, Result, Row, Value};

/// Rows are read and written in pages of about so many bytes.
pub(crate) const PAGE: usize = 1 << 20;

pub(crate) type Rows<'a> = [Vec<Value<'a>>];

/// A database as the source or the target of a copy. Dropping it undoes what was written.
pub(crate) trait TableStore {
    /// All tables by name, without the one of the schema's versions.
    fn tables(&mut self) -> Result<Vec<Table>>;
    /// Runs a statement that returns one integer.
    fn number(&mut self, sql: &str) -> Result<i64>;
    /// The highest id that a table has ever generated, or 0.
    fn last_id(&mut self, table: &Table, column: &str) -> Result<i64>;
    /// Makes a table generate only ids above this one.
    fn set_last_id(&mut self, table: &Table, column: &str, id: i64) -> Result<()>;
    /// Reads all rows, in the order of the primary key.
    fn read(&mut self, table: &Table, take: &mut dyn FnMut(&Rows<'_>) -> Result<()>) -> Result<()>;
    fn write(&mut self, table: &Table, rows: &Rows<'_>) -> Result<()>;
    /// Ends the writing, before everything is read back.
    fn finish(&mut self, tables: &[Table]) -> Result<()>;
    fn commit(self: Box<Self>) -> Result<()>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// The columns of the primary key, in its order.
    pub(crate) key: Vec<String>,
    /// The column whose values the engine generates, without repeating one.
    pub(crate) identity: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Its type in PostgreSQL.
    pub(crate) kind: Type,
}

/// A column as the catalogs of both engines list it.
pub(crate) struct Listed {
    pub(crate) table: String,
    pub(crate) column: String,
    /// The engine's name of the type.
    pub(crate) kind: String,
    /// Its position in the primary key, from 1, or 0.
    pub(crate) key_position: i64,
    pub(crate) is_identity: bool,
}

impl Listed {
    /// From a row with the fields.
    pub(crate) fn new(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            table: row.text(0)?.to_owned(),
            column: row.text(1)?.to_owned(),
            kind: row.text(2)?.to_owned(),
            key_position: row.int(3)?,
            is_identity: row.flag(4)?,
        })
    }
}

impl Table {
    /// Groups columns, listed table by table and in the order of each table.
    pub(crate) fn all(listed: &[Listed]) -> Result<Vec<Self>> {
        let tables = listed.chunk_by(|one, next| one.table == next.table);
        tables.map(Self::new).collect()
    }

    fn new(listed: &[Listed]) -> Result<Self> {
        let column = |column: &Listed| {
            let Listed { table, column: name, kind, .. } = column;
            let kind = match kind.as_str() {
                "INTEGER" | "INT" | "bigint" => Type::INT8,
                "TEXT" | "text" => Type::TEXT,
                "BLOB" | "bytea" => Type::BYTEA,
                _ => return Err(Error::NotCopied(format!("{table}.{name} has the type {kind}"))),
            };
            Ok(Column { name: name.clone(), kind })
        };
        let mut key: Vec<_> = listed.iter().filter(|column| column.key_position > 0).collect();
        key.sort_by_key(|column| column.key_position);
        let identity = listed.iter().find(|column| column.is_identity);
        Ok(Self {
            name: listed[0].table.clone(),
            columns: listed.iter().map(column).collect::<Result<_>>()?,
            key: key.into_iter().map(|column| column.column.clone()).collect(),
            identity: identity.map(|column| column.column.clone()),
        })
    }

    pub(crate) fn quoted(&self) -> String {
        quote(&self.name)
    }

    /// All columns, as a list in a statement.
    pub(crate) fn list(&self) -> String {
        let names = self.columns.iter().map(|column| quote(&column.name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Every row, in the same order on both engines.
    pub(crate) fn select(&self) -> String {
        let order = if self.key.is_empty() {
            let all = self.columns.iter().map(|column| quote(&column.name) + " NULLS FIRST");
            all.collect::<Vec<_>>()
        } else {
            self.key.iter().map(|name| quote(name)).collect()
        };
        format!("SELECT {} FROM {} ORDER BY {}", self.list(), self.quoted(), order.join(", "))
    }

    pub(crate) fn clear(&self) -> String {
        format!("DELETE FROM {}", self.quoted())
    }

    pub(crate) fn highest(&self, column: &str) -> String {
        format!("SELECT coalesce(max({}), 0) FROM {}", quote(column), self.quoted())
    }
}

pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
