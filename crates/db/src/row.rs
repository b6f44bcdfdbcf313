//! What a statement answers: one row, read by position.

use rusqlite::types::ValueRef;
use tokio_postgres::types::{FromSql, Type};

use crate::{Error, Result};

/// One row of an answer; columns count from 0.
pub struct Row<'a> {
    inner: Inner<'a>,
}

enum Inner<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

/// What a column holds, whatever the engine.
enum Column<'a> {
    Null,
    Int(i64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
    Other,
}

impl<'a> Row<'a> {
    pub(crate) fn sqlite(inner: &'a rusqlite::Row<'a>) -> Self {
        Self { inner: Inner::Sqlite(inner) }
    }

    pub(crate) fn postgres(inner: &'a tokio_postgres::Row) -> Self {
        Self { inner: Inner::Postgres(inner) }
    }

    /// A whole number.
    pub fn int(&self, column: usize) -> Result<i64> {
        match self.column(column)? {
            Column::Int(int) => Ok(int),
            _ => Err(Error::Column { column, expected: "a whole number" }),
        }
    }

    /// A whole number, or nothing.
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>> {
        match self.column(column)? {
            Column::Null => Ok(None),
            Column::Int(int) => Ok(Some(int)),
            _ => Err(Error::Column { column, expected: "a whole number or nothing" }),
        }
    }

    /// A flag: 0 or 1.
    pub fn flag(&self, column: usize) -> Result<bool> {
        match self.int(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Column { column, expected: "0 or 1" }),
        }
    }

    /// Text.
    pub fn text(&self, column: usize) -> Result<&'a str> {
        match self.column(column)? {
            Column::Text(bytes) => std::str::from_utf8(bytes)
                .map_err(|_invalid| Error::Column { column, expected: "UTF-8 text" }),
            _ => Err(Error::Column { column, expected: "text" }),
        }
    }

    /// Text, or nothing.
    pub fn opt_text(&self, column: usize) -> Result<Option<&'a str>> {
        match self.column(column)? {
            Column::Null => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    /// Bytes.
    pub fn blob(&self, column: usize) -> Result<&'a [u8]> {
        match self.column(column)? {
            Column::Blob(bytes) => Ok(bytes),
            _ => Err(Error::Column { column, expected: "bytes" }),
        }
    }

    fn column(&self, column: usize) -> Result<Column<'a>> {
        match self.inner {
            Inner::Sqlite(row) => Ok(match row.get_ref(column)? {
                ValueRef::Null => Column::Null,
                ValueRef::Integer(int) => Column::Int(int),
                ValueRef::Text(bytes) => Column::Text(bytes),
                ValueRef::Blob(bytes) => Column::Blob(bytes),
                ValueRef::Real(_) => Column::Other,
            }),
            Inner::Postgres(row) => {
                row.try_get(column).map_err(|error| Error::Engine(error.to_string()))
            }
        }
    }
}

/// The types that the translated schema has, and those of counts and conditions.
impl<'a> FromSql<'a> for Column<'a> {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Column::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Column::Int(i32::from_sql(kind, raw)?.into()),
            Type::BOOL => Column::Int(bool::from_sql(kind, raw)?.into()),
            Type::TEXT | Type::VARCHAR | Type::NAME => Column::Text(raw),
            Type::BYTEA => Column::Blob(raw),
            _ => Column::Other,
        })
    }

    fn from_sql_null(_kind: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Column::Null)
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }
}
