//! The parameters of statements: the types that both engines share.

use std::rc::Rc;

use bytes::BytesMut;
use rusqlite::types::{ToSqlOutput, ValueRef};
use tokio_postgres::types::{IsNull, ToSql, Type};

/// A parameter of a statement. Times are microseconds since 1970; flags are 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
    /// Integers to look for, only as in `id IN rarray(?1)`, or `FROM rarray(?1) JOIN … ON id =
    /// value`: SQLite reads them as a table of rusqlite's, and PostgreSQL as an array.
    Ints(&'a [i64]),
    /// Texts to look for, in the same way.
    Texts(&'a [String]),
    /// Bytes to look for, in the same way.
    Blobs(&'a [Vec<u8>]),
}

macro_rules! from {
    ($($type:ty => $variant:ident),*) => {$(
        impl<'a> From<$type> for Value<'a> {
            fn from(value: $type) -> Self {
                Value::$variant(value)
            }
        }
    )*};
}

from!(i64 => Int, &'a str => Text, &'a [u8] => Blob, &'a [i64] => Ints, &'a [String] => Texts,
      &'a [Vec<u8>] => Blobs);

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Int(i64::from(value))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Value::Blob(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Int(int) => ValueRef::Integer(int),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(blob) => ValueRef::Blob(blob),
            Value::Ints(ints) => return Ok(list(ints)),
            Value::Texts(texts) => return Ok(list(texts)),
            Value::Blobs(blobs) => return Ok(list(blobs)),
        }))
    }
}

fn list<T: Clone + Into<rusqlite::types::Value>>(values: &[T]) -> ToSqlOutput<'static> {
    let values: Vec<rusqlite::types::Value> = values.iter().cloned().map(Into::into).collect();
    ToSqlOutput::from_rc(Rc::new(values), c"rarray")
}

impl Value<'_> {
    /// The type to declare to PostgreSQL, which infers that of NULL.
    pub(crate) fn sql_type(&self) -> Type {
        match self {
            Value::Null => Type::UNKNOWN,
            Value::Int(_) => Type::INT8,
            Value::Text(_) => Type::TEXT,
            Value::Blob(_) => Type::BYTEA,
            Value::Ints(_) => Type::INT8_ARRAY,
            Value::Texts(_) => Type::TEXT_ARRAY,
            Value::Blobs(_) => Type::BYTEA_ARRAY,
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (*self, kind) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(int), &Type::INT8) => int.to_sql(kind, out),
            (Value::Int(int), &Type::INT4) => i32::try_from(int)?.to_sql(kind, out),
            (Value::Text(text), &Type::TEXT | &Type::VARCHAR) => text.to_sql(kind, out),
            (Value::Blob(blob), &Type::BYTEA) => blob.to_sql(kind, out),
            (Value::Ints(ints), &Type::INT8_ARRAY) => ints.to_sql(kind, out),
            (Value::Texts(texts), &Type::TEXT_ARRAY) => texts.to_sql(kind, out),
            (Value::Blobs(blobs), &Type::BYTEA_ARRAY) => blobs.to_sql(kind, out),
            _ => Err(format!("a parameter is {} instead of {kind}", self.sql_type()).into()),
        }
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A value that outlives its row or its closure.
pub(crate) enum OwnedValue {
    Null,
    Int(i64),
    Text(Box<str>),
    Blob(Box<[u8]>),
    Ints(Box<[i64]>),
    Texts(Box<[String]>),
    Blobs(Box<[Vec<u8>]>),
}

impl From<&Value<'_>> for OwnedValue {
    fn from(value: &Value<'_>) -> Self {
        match *value {
            Value::Null => Self::Null,
            Value::Int(int) => Self::Int(int),
            Value::Text(text) => Self::Text(text.into()),
            Value::Blob(blob) => Self::Blob(blob.into()),
            Value::Ints(ints) => Self::Ints(ints.into()),
            Value::Texts(texts) => Self::Texts(texts.into()),
            Value::Blobs(blobs) => Self::Blobs(blobs.into()),
        }
    }
}

impl OwnedValue {
    pub(crate) fn borrow(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Int(int) => Value::Int(*int),
            Self::Text(text) => Value::Text(text),
            Self::Blob(blob) => Value::Blob(blob),
            Self::Ints(ints) => Value::Ints(ints),
            Self::Texts(texts) => Value::Texts(texts),
            Self::Blobs(blobs) => Value::Blobs(blobs),
        }
    }
}
