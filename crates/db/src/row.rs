//! What a statement answers: one row, read by position.

use rusqlite::types::ValueRef;

use crate::{Error, Result};

/// One row of an answer; columns count from 0.
pub struct Row<'a> {
    inner: &'a rusqlite::Row<'a>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(inner: &'a rusqlite::Row<'a>) -> Self {
        Self { inner }
    }

    /// A whole number.
    pub fn int(&self, column: usize) -> Result<i64> {
        match self.value(column)? {
            ValueRef::Integer(int) => Ok(int),
            _ => Err(Error::Column { column, expected: "a whole number" }),
        }
    }

    /// A whole number, or nothing.
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(int) => Ok(Some(int)),
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
        match self.value(column)? {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes)
                .map_err(|_invalid| Error::Column { column, expected: "UTF-8 text" }),
            _ => Err(Error::Column { column, expected: "text" }),
        }
    }

    /// Text, or nothing.
    pub fn opt_text(&self, column: usize) -> Result<Option<&'a str>> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    /// Bytes.
    pub fn blob(&self, column: usize) -> Result<&'a [u8]> {
        match self.value(column)? {
            ValueRef::Blob(bytes) => Ok(bytes),
            _ => Err(Error::Column { column, expected: "bytes" }),
        }
    }

    fn value(&self, column: usize) -> Result<ValueRef<'a>> {
        self.inner.get_ref(column).map_err(Error::from)
    }
}
