//! The lines of a file, each at bounded length.

use std::io::{BufRead, Read as _};

use anyhow::{Context as _, Result};
use domain::moving::Problem;

/// The most bytes of a line: the longest body that a server can be set to take, and more.
const LONGEST: u64 = 32 << 20;

/// Reads one line after the other.
pub(super) struct Lines<R> {
    from: R,
    number: i64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn of(from: R) -> Self {
        Self { from, number: 0 }
    }

    /// The next line that is not empty, with its number, or what is wrong with it; `None` at the
    /// end. A byte order mark and a carriage return are no part of it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<(i64, Result<String, Problem>)>> {
        loop {
            let mut bytes = Vec::new();
            let read = self.from.by_ref().take(LONGEST).read_until(b'\n', &mut bytes);
            let read = read.context("cannot read the file")?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            let line = self.number;
            let wrong = |code, detail: &str| {
                let (pointer, detail) = (String::new(), detail.to_owned());
                Ok(Some((line, Err(Problem { line, pointer, code, detail }))))
            };
            let is_whole = bytes.ends_with(b"\n") || (read as u64) < LONGEST;
            if !is_whole {
                self.skip_line().context("cannot read the file")?;
                return wrong("too_long", "a line has at most 32 MiB");
            }
            let start = if line == 1 && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let Ok(text) = std::str::from_utf8(&bytes[start..]) else {
                return wrong("not_utf8", "it is not UTF-8");
            };
            let text = text.trim_end_matches(['\n', '\r']);
            if !text.trim().is_empty() {
                return Ok(Some((line, Ok(text.to_owned()))));
            }
        }
    }

    fn skip_line(&mut self) -> std::io::Result<()> {
        loop {
            let buffer = self.from.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.from.consume(used);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<(i64, Result<String, &'static str>)> {
        let mut lines = Lines::of(bytes);
        let all = std::iter::from_fn(|| lines.next().unwrap());
        all.map(|(line, text)| (line, text.map_err(|problem| problem.code))).collect()
    }

    #[test]
    fn marks_and_line_ends_of_other_systems_are_no_part_of_a_line() {
        let whole = |line, text: &str| (line, Ok(text.to_owned()));
        assert_eq!(read(b""), []);
        assert_eq!(read(b"\xef\xbb\xbfa\r\n\n \r\nb"), [whole(1, "a"), whole(4, "b")]);
        assert_eq!(read(b"a\n\xff\nb\n"), [whole(1, "a"), (2, Err("not_utf8")), whole(3, "b")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped() {
        let mut bytes = vec![b'x'; 40 << 20];
        bytes.extend_from_slice(b"\nb\n");
        assert_eq!(read(&bytes), [(1, Err("too_long")), (2, Ok("b".to_owned()))]);
    }
}
