//! The parameters of statements: the types that both engines share.

use std::fmt::Write as _;

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
    /// Integers to look for, only as in `id IN (SELECT value FROM json_each(?1))`: SQLite reads
    /// them as JSON, and PostgreSQL as an array.
    Ints(&'a [i64]),
    /// Texts to look for, in the same way.
    Texts(&'a [String]),
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

from!(i64 => Int, &'a str => Text, &'a [u8] => Blob, &'a [i64] => Ints, &'a [String] => Texts);

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
            // The debug form of integers is JSON.
            Value::Ints(ints) => return Ok(ToSqlOutput::Owned(format!("{ints:?}").into())),
            Value::Texts(texts) => return Ok(ToSqlOutput::Owned(json(texts).into())),
        }))
    }
}

/// Texts as an array of JSON.
fn json(texts: &[String]) -> String {
    let mut json = String::from("[");
    for text in texts {
        json.push_str(if json.len() > 1 { ",\"" } else { "\"" });
        for c in text.chars() {
            match c {
                '"' | '\\' => json.extend(['\\', c]),
                '\0'..='\u{1f}' => {
                    write!(json, "\\u{:04x}", u32::from(c)).expect("writing to a string succeeds");
                }
                c => json.push(c),
            }
        }
        json.push('"');
    }
    json.push(']');
    json
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
        }
    }
}
