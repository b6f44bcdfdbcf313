//! Rows on their way from one engine to the other, in one encoding: what it is summed up over.

use crate::{Error, Result, Value};

/// Bytes of a page; with one more row it is full.
const FULL: usize = 1 << 20;

const NULL: u8 = 0;
const INT: u8 = 1;
const TEXT: u8 = 2;
const BLOB: u8 = 3;

/// Some rows, one cell after the other: a byte for the kind, and what it holds. The length of
/// texts and bytes comes first, so that no two rows look alike.
#[derive(Debug, Default)]
pub(crate) struct Page {
    bytes: Vec<u8>,
    rows: u64,
}

impl Page {
    pub(crate) fn null(&mut self) {
        self.bytes.push(NULL);
    }

    pub(crate) fn int(&mut self, value: i64) {
        self.bytes.push(INT);
        self.bytes.extend(value.to_be_bytes());
    }

    pub(crate) fn text(&mut self, text: &[u8]) {
        self.long(TEXT, text);
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        self.long(BLOB, bytes);
    }

    fn long(&mut self, kind: u8, bytes: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend((bytes.len() as u64).to_be_bytes());
        self.bytes.extend(bytes);
    }

    /// Says that a row is complete.
    pub(crate) fn end_row(&mut self) {
        self.rows += 1;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.rows = 0;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads the rows back, each of so many cells.
    pub(crate) fn cells(&self, columns: usize) -> Cells<'_> {
        Cells { rest: &self.bytes, columns }
    }
}

/// The rows of a page, as the statements of both engines take them.
pub(crate) struct Cells<'a> {
    rest: &'a [u8],
    columns: usize,
}

impl<'a> Cells<'a> {
    /// Puts the next row into `row`; whether there was one.
    ///
    /// # Errors
    /// [`Error::Engine`] where a text is not UTF-8: only one of the engines would take it.
    pub(crate) fn next(&mut self, row: &mut Vec<Value<'a>>) -> Result<bool> {
        row.clear();
        if self.rest.is_empty() {
            return Ok(false);
        }
        for _column in 0..self.columns {
            row.push(self.cell()?);
        }
        Ok(true)
    }

    fn cell(&mut self) -> Result<Value<'a>> {
        const CUT: Error = Error::Closed;
        let (kind, rest) = self.rest.split_first().ok_or(CUT)?;
        if *kind == NULL {
            self.rest = rest;
            return Ok(Value::Null);
        }
        let (number, rest) = rest.split_first_chunk().ok_or(CUT)?;
        let number = i64::from_be_bytes(*number);
        if *kind == INT {
            self.rest = rest;
            return Ok(Value::Int(number));
        }
        let length = usize::try_from(number).ok().filter(|length| *length <= rest.len());
        let (bytes, rest) = rest.split_at(length.ok_or(CUT)?);
        self.rest = rest;
        if *kind == BLOB {
            return Ok(Value::Blob(bytes));
        }
        let text = str::from_utf8(bytes);
        text.map(Value::Text).map_err(|_invalid| Error::Engine("a text is not UTF-8".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::Page;
    use crate::Value;

    #[test]
    fn a_page_gives_back_what_was_put_in_and_nothing_looks_alike() {
        let mut page = Page::default();
        page.int(i64::MIN);
        page.text("ä\0".as_bytes());
        page.end_row();
        page.null();
        page.blob(&[0, 255]);
        page.end_row();
        let (mut cells, mut row) = (page.cells(2), Vec::new());
        assert_eq!(cells.next(&mut row), Ok(true));
        assert_eq!(row, [Value::Int(i64::MIN), Value::Text("ä\0")]);
        assert_eq!(cells.next(&mut row), Ok(true));
        assert_eq!(row, [Value::Null, Value::Blob(&[0, 255])]);
        assert_eq!(cells.next(&mut row), Ok(false));

        let page = |put: fn(&mut Page)| {
            let mut page = Page::default();
            put(&mut page);
            page.end_row();
            page.bytes
        };
        let pages = [
            page(Page::null),
            page(|page| page.int(0)),
            page(|page| page.text(b"")),
            page(|page| page.blob(b"")),
            page(|page| (page.text(b"a"), page.text(b"")).1),
            page(|page| (page.text(b""), page.text(b"a")).1),
        ];
        for (index, one) in pages.iter().enumerate() {
            assert_eq!(pages.iter().position(|other| one == other), Some(index));
        }
    }

    #[test]
    fn a_text_that_only_one_engine_takes_is_no_value() {
        let mut page = Page::default();
        page.text(&[0xff]);
        page.end_row();
        assert!(page.cells(1).next(&mut Vec::new()).is_err());
    }
}
