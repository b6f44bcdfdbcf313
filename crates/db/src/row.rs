//! One row of a result, read by position.

use rusqlite::types::ValueRef;
use tokio_postgres::types::{FromSql, Type};

use crate::{Error, Result, Value};

/// One row of a result; columns count from 0.
pub struct Row<'a> {
    inner: Inner<'a>,
}

enum Inner<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

/// A column; `None` if it has a type that no schema uses.
struct Column<'a>(Option<Value<'a>>);

impl<'a> Row<'a> {
    pub(crate) fn sqlite(inner: &'a rusqlite::Row<'a>) -> Self {
        Self { inner: Inner::Sqlite(inner) }
    }

    pub(crate) fn postgres(inner: &'a tokio_postgres::Row) -> Self {
        Self { inner: Inner::Postgres(inner) }
    }

    /// An integer.
    pub fn int(&self, column: usize) -> Result<i64> {
        match self.column(column)? {
            Some(Value::Int(int)) => Ok(int),
            _ => Err(Error::Column { column, expected: "an integer" }),
        }
    }

    /// An integer, or `None` for NULL.
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>> {
        match self.column(column)? {
            Some(Value::Null) => Ok(None),
            Some(Value::Int(int)) => Ok(Some(int)),
            _ => Err(Error::Column { column, expected: "an integer or NULL" }),
        }
    }

    /// A flag, stored as 0 or 1.
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
            Some(Value::Text(text)) => Ok(text),
            _ => Err(Error::Column { column, expected: "text" }),
        }
    }

    /// Text, or `None` for NULL.
    pub fn opt_text(&self, column: usize) -> Result<Option<&'a str>> {
        match self.column(column)? {
            Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            _ => Err(Error::Column { column, expected: "text" }),
        }
    }

    /// Bytes.
    pub fn blob(&self, column: usize) -> Result<&'a [u8]> {
        match self.column(column)? {
            Some(Value::Blob(bytes)) => Ok(bytes),
            _ => Err(Error::Column { column, expected: "bytes" }),
        }
    }

    /// Bytes, or `None` for NULL.
    pub fn opt_blob(&self, column: usize) -> Result<Option<&'a [u8]>> {
        match self.column(column)? {
            Some(Value::Null) => Ok(None),
            Some(Value::Blob(bytes)) => Ok(Some(bytes)),
            _ => Err(Error::Column { column, expected: "bytes" }),
        }
    }

    /// The first columns, as they are.
    pub(crate) fn values(&self, columns: usize) -> Result<Vec<Value<'a>>> {
        let expected = "an integer, text, bytes or NULL";
        let value = |column| self.column(column)?.ok_or(Error::Column { column, expected });
        (0..columns).map(value).collect()
    }

    // Inlined, with the branch of the slower engine kept out: a page reads a thousand columns.
    #[inline]
    fn column(&self, column: usize) -> Result<Option<Value<'a>>> {
        match self.inner {
            Inner::Sqlite(row) => Ok(match row.get_ref(column)? {
                ValueRef::Null => Some(Value::Null),
                ValueRef::Integer(int) => Some(Value::Int(int)),
                ValueRef::Text(bytes) => {
                    let invalid = |_| Error::Column { column, expected: "UTF-8 text" };
                    Some(Value::Text(std::str::from_utf8(bytes).map_err(invalid)?))
                }
                ValueRef::Blob(bytes) => Some(Value::Blob(bytes)),
                ValueRef::Real(_) => None,
            }),
            Inner::Postgres(row) => postgres_column(row, column),
        }
    }
}

#[inline(never)]
fn postgres_column(row: &tokio_postgres::Row, column: usize) -> Result<Option<Value<'_>>> {
    let read = row.try_get(column).map_err(|error| Error::Engine(error.to_string()));
    read.map(|Column(value)| value)
}

/// Reads the types of the translated schema, and those of counts and conditions.
impl<'a> FromSql<'a> for Column<'a> {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Column(Some(match *kind {
            Type::INT8 => Value::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Value::Int(i32::from_sql(kind, raw)?.into()),
            Type::BOOL => Value::Int(bool::from_sql(kind, raw)?.into()),
            Type::TEXT | Type::VARCHAR | Type::NAME => Value::Text(std::str::from_utf8(raw)?),
            Type::BYTEA => Value::Blob(raw),
            _ => return Ok(Column(None)),
        })))
    }

    fn from_sql_null(_kind: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Column(Some(Value::Null)))
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }
}
