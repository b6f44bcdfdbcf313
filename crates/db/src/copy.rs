//! Moving house: every row of one database into an empty one, whatever their engines.
//!
//! All or nothing: the target is a file beside its place, or a transaction, until all of it was
//! read back and found the same.

mod page;
mod side;
mod table;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

pub(crate) use page::Page;
pub(crate) use table::{Column, Kind, Table, quote};

use crate::{Error, Migration, Result, Url};
use side::Side;

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The table that it is at.
    pub table: &'a str,
    /// What it does with it.
    pub step: Step,
    /// Rows of it that are done.
    pub rows: u64,
    /// Rows that it has.
    pub of: u64,
}

/// What a copy does with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is written.
    Copying,
    /// It is read back, on both sides.
    Checking,
    /// It was found the same; each table ends with this.
    Done,
}

/// A table that was copied, and found the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// The SHA-256 of all of them, in the order of the primary key: the same for the same rows,
    /// whatever the engine.
    pub checksum: String,
}

pub(crate) fn run(
    from: &Url,
    to: &Url,
    schema: &[Migration],
    now: i64,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Vec<Copied>> {
    // Both undo what they have begun where they are dropped.
    let mut source = Side::source(from, schema)?;
    let mut target = Side::target(to, schema, now)?;
    let tables = common(source.tables()?, &target.tables()?)?;
    for table in &tables {
        fill(&mut source, &mut target, table, &mut progress)
            .map_err(|error| within(table, error))?;
    }
    target.settle(&tables)?;
    let copied = check(&mut source, &mut target, &tables, &mut progress)?;
    target.keep()?;
    Ok(copied)
}

/// The tables of both. What one alone has would be lost, or is somebody else's.
fn common(source: Vec<Table>, target: &[Table]) -> Result<Vec<Table>> {
    let differs = |one: &[Table], other: &[Table]| {
        let table = one.iter().find(|table| !other.contains(table));
        table.map(|table| table.name.clone())
    };
    match differs(&source, target).or_else(|| differs(target, &source)) {
        None => Ok(source),
        Some(name) => Err(Error::NotCopied(format!(
            "the table {name} is not the same in both databases, or only in one of them"
        ))),
    }
}

fn fill(
    source: &mut Side,
    target: &mut Side,
    table: &Table,
    progress: &mut impl FnMut(Progress<'_>),
) -> Result<()> {
    let (mut rows, of) = (0, source.count(table)?);
    let mut tell = |rows| {
        progress(Progress { table: &table.name, step: Step::Copying, rows, of });
    };
    tell(0);
    source.read(table, &mut |page| {
        target.write(table, page)?;
        rows += page.rows();
        tell(rows);
        Ok(())
    })?;
    if let Some(column) = &table.gives {
        target.give(table, column, source.given(table, column)?)?;
    }
    Ok(())
}

/// Reads everything on both sides, and compares.
fn check(
    source: &mut Side,
    target: &mut Side,
    tables: &[Table],
    progress: &mut impl FnMut(Progress<'_>),
) -> Result<Vec<Copied>> {
    let mut copied = Vec::with_capacity(tables.len());
    for table in tables {
        let of = source.count(table)?;
        let mut tell = |rows, step| {
            progress(Progress { table: &table.name, step, rows, of });
        };
        let theirs = sum(source, table, |_rows| {}).map_err(|error| within(table, error))?;
        let ours = sum(target, table, |rows| tell(rows, Step::Checking));
        let ours = ours.map_err(|error| within(table, error))?;
        if theirs != ours {
            return Err(Error::Differs(format!(
                "the table {} has {} rows ({}) there and {} rows ({}) here",
                table.name, theirs.rows, theirs.checksum, ours.rows, ours.checksum
            )));
        }
        tell(of, Step::Done);
        let Sum { rows, checksum, .. } = ours;
        copied.push(Copied { table: table.name.clone(), rows, checksum });
    }
    Ok(copied)
}

/// What a table comes to.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    rows: u64,
    checksum: String,
    /// The highest id that was ever given.
    given: Option<i64>,
}

fn sum(side: &mut Side, table: &Table, mut tell: impl FnMut(u64)) -> Result<Sum> {
    let (mut rows, mut hash) = (0, Sha256::new());
    side.read(table, &mut |page| {
        hash.update(page.bytes());
        rows += page.rows();
        tell(rows);
        Ok(())
    })?;
    let mut checksum = String::with_capacity(64);
    for byte in hash.finalize() {
        write!(checksum, "{byte:02x}").expect("writing to a string succeeds");
    }
    let given = match &table.gives {
        Some(column) => Some(side.given(table, column)?),
        None => None,
    };
    Ok(Sum { rows, checksum, given })
}

/// Names the table that an engine complains of.
fn within(table: &Table, error: Error) -> Error {
    match error {
        Error::Engine(text) => Error::Engine(format!("table {}: {text}", table.name)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Progress, Side, check};
    use crate::{Db, Error, Migration, Url};

    const SCHEMA: &[Migration] = &[Migration {
        version: 1,
        name: "start",
        sql: "CREATE TABLE things (
                  id INTEGER PRIMARY KEY AUTOINCREMENT, whole INTEGER, words TEXT, bytes BLOB
              ) STRICT;",
        oldest: 1,
    }];

    const ROWS: &str = "INSERT INTO things (whole, words, bytes) VALUES
        (1, 'one', x'01'), (2, '', x''), (3, NULL, NULL), (4, 'four', x'04')";

    /// What a comparison says of two files, of which the second was changed.
    fn compared(change: &str) -> crate::Result<Vec<super::Copied>> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let side = |name: &str, change: &str| {
            let path = folder.path().join(name);
            let url = Url::parse(&format!("sqlite:{}", path.display()), Path::new("/"))?;
            Db::migrate(&url, SCHEMA, 1)?;
            let connection = rusqlite::Connection::open(&path)?;
            connection.execute_batch(&format!("{ROWS}; {change}"))?;
            drop(connection);
            Side::source(&url, SCHEMA)
        };
        let (mut one, mut other) = (side("one", "")?, side("other", change)?);
        let tables = one.tables()?;
        check(&mut one, &mut other, &tables, &mut |_progress: Progress<'_>| {})
    }

    #[test]
    fn two_databases_are_the_same_only_where_nothing_at_all_differs() {
        let same = compared("UPDATE things SET words = words").expect("they are the same");
        assert_eq!((same[0].table.as_str(), same[0].rows), ("things", 4));
        // The rows of a file do not stand in the order in which they came.
        let again = compared(
            "CREATE TABLE kept AS SELECT * FROM things; DELETE FROM things;
             INSERT INTO things SELECT * FROM kept ORDER BY id DESC; DROP TABLE kept",
        );
        assert_eq!(again.as_ref(), Ok(&same));
        for change in [
            "UPDATE things SET whole = 5 WHERE id = 4",
            "UPDATE things SET whole = NULL WHERE id = 4",
            "UPDATE things SET words = 'Four' WHERE id = 4",
            "UPDATE things SET words = '' WHERE id = 3",
            "UPDATE things SET bytes = x'' WHERE id = 3",
            "UPDATE things SET bytes = x'00' WHERE id = 2",
            "UPDATE things SET words = 'fou', bytes = CAST('r' || x'04' AS BLOB) WHERE id = 4",
            "UPDATE things SET id = 9 WHERE id = 2",
            "DELETE FROM things WHERE id = 4",
            "DELETE FROM things",
            "INSERT INTO things (whole) VALUES (5)",
            "INSERT INTO things (whole) VALUES (5); DELETE FROM things WHERE whole = 5",
            "UPDATE sqlite_sequence SET seq = 3; DELETE FROM things WHERE id = 4",
        ] {
            let found = compared(change);
            assert!(matches!(found, Err(Error::Differs(_))), "{change}: {found:?}");
        }
    }
}
