//! Copies every row of one database into an empty one, whatever their engines.
//!
//! All or nothing: until everything was read back and found equal, the target is a file under
//! another name, or an open transaction.

use sha2::{Digest as _, Sha256};

use crate::tables::{Table, TableStore};
use crate::{Error, Migration, Result, Url, Value, postgres, sqlite, url::Location};

/// The progress of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The current table.
    pub table: &'a str,
    /// What is being done with it.
    pub step: Step,
    /// Rows of it that are done.
    pub rows: u64,
    /// Rows of it in all.
    pub of: u64,
}

/// What a copy does with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its rows are being copied.
    Copying,
    /// It is being read back on both sides.
    Checking,
    /// It was found equal; each table ends with this.
    Done,
}

/// A table that was copied and found equal on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// The SHA-256 of all rows in the order of the primary key, in hexadecimal. It does not depend
    /// on the engine.
    pub checksum: String,
}

pub(crate) fn run(
    from: &Url,
    to: &Url,
    schema: &[Migration],
    now: i64,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Vec<Copied>> {
    // Before anything is opened.
    if let Some(path) = to.path() {
        sqlite::copy::File::confirm_target(path)?;
    }
    let mut source = source(from, schema)?;
    let mut target = target(to, schema, now)?;
    let tables = common(source.tables()?, &target.tables()?)?;
    for table in &tables {
        fill(&mut *source, &mut *target, table, &mut progress)
            .map_err(|error| within(table, error))?;
    }
    target.finish(&tables)?;
    let copied = check(&mut *source, &mut *target, &tables, &mut progress)?;
    target.commit()?;
    Ok(copied)
}

/// One snapshot of a database that no server uses, and that nobody can write to meanwhile.
fn source(url: &Url, schema: &[Migration]) -> Result<Box<dyn TableStore>> {
    Ok(match &url.location {
        Location::File(path) => Box::new(sqlite::copy::File::source(path, schema)?),
        Location::Server(config) => Box::new(postgres::copy::Transaction::source(config, schema)?),
    })
}

fn target(url: &Url, schema: &[Migration], now: i64) -> Result<Box<dyn TableStore>> {
    Ok(match &url.location {
        Location::File(path) => Box::new(sqlite::copy::File::target(path, schema, now)?),
        Location::Server(config) => {
            Box::new(postgres::copy::Transaction::target(config, schema, now)?)
        }
    })
}

/// The tables, which must be the same in both databases.
fn common(source: Vec<Table>, target: &[Table]) -> Result<Vec<Table>> {
    let differs = |one: &[Table], other: &[Table]| {
        let table = one.iter().find(|table| !other.contains(table));
        table.map(|table| table.name.clone())
    };
    match differs(&source, target).or_else(|| differs(target, &source)) {
        None => Ok(source),
        Some(name) => Err(Error::NotCopied(format!(
            "the table {name} is not the same in both databases, or exists in one of them only"
        ))),
    }
}

fn count(store: &mut dyn TableStore, table: &Table) -> Result<u64> {
    let rows = store.number(&format!("SELECT count(*) FROM {}", table.quoted()))?;
    Ok(rows.cast_unsigned())
}

fn fill(
    source: &mut dyn TableStore,
    target: &mut dyn TableStore,
    table: &Table,
    progress: &mut impl FnMut(Progress<'_>),
) -> Result<()> {
    let (mut rows, of) = (0, count(source, table)?);
    let mut report = |rows| {
        progress(Progress { table: &table.name, step: Step::Copying, rows, of });
    };
    report(0);
    source.read(table, &mut |page| {
        target.write(table, page)?;
        rows += page.len() as u64;
        report(rows);
        Ok(())
    })?;
    if let Some(column) = &table.identity {
        target.set_last_id(table, column, source.last_id(table, column)?)?;
    }
    Ok(())
}

/// Reads everything on both sides and compares it.
fn check(
    source: &mut dyn TableStore,
    target: &mut dyn TableStore,
    tables: &[Table],
    progress: &mut impl FnMut(Progress<'_>),
) -> Result<Vec<Copied>> {
    let mut copied = Vec::with_capacity(tables.len());
    for table in tables {
        let of = count(source, table)?;
        let mut report = |rows, step| {
            progress(Progress { table: &table.name, step, rows, of });
        };
        let theirs = sum(source, table, |_rows| {}).map_err(|error| within(table, error))?;
        let ours = sum(target, table, |rows| report(rows, Step::Checking));
        let ours = ours.map_err(|error| within(table, error))?;
        if theirs != ours {
            return Err(Error::Differs(format!(
                "the table {} has {} rows ({}) in the source and {} rows ({}) in the copy",
                table.name, theirs.rows, theirs.checksum, ours.rows, ours.checksum
            )));
        }
        report(of, Step::Done);
        let Sum { rows, checksum, .. } = ours;
        copied.push(Copied { table: table.name.clone(), rows, checksum });
    }
    Ok(copied)
}

/// What two tables must have in common to be equal.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    rows: u64,
    checksum: String,
    /// The highest id ever generated.
    last_id: Option<i64>,
}

fn sum(store: &mut dyn TableStore, table: &Table, mut report: impl FnMut(u64)) -> Result<Sum> {
    let (mut rows, mut hash) = (0, Sha256::new());
    store.read(table, &mut |page| {
        page.iter().flatten().for_each(|value| hash_value(&mut hash, value));
        rows += page.len() as u64;
        report(rows);
        Ok(())
    })?;
    let last_id = table.identity.as_ref().map(|column| store.last_id(table, column)).transpose()?;
    Ok(Sum { rows, checksum: hex::encode(hash.finalize()), last_id })
}

/// Hashes the type, the length and the contents of a value, so that no two rows hash the same
/// bytes.
fn hash_value(hash: &mut Sha256, value: &Value<'_>) {
    let (kind, bytes) = match *value {
        // No column holds a list.
        Value::Null | Value::Ints(_) | Value::Texts(_) | Value::Blobs(_) => {
            return hash.update([0]);
        }
        Value::Int(int) => {
            hash.update([1]);
            return hash.update(int.to_be_bytes());
        }
        Value::Text(text) => (2, text.as_bytes()),
        Value::Blob(bytes) => (3, bytes),
    };
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

/// Names the table in an error of the engine.
fn within(table: &Table, error: Error) -> Error {
    match error {
        Error::Engine(text) => Error::Engine(format!("table {}: {text}", table.name)),
        Error::Column { .. } => Error::Engine(format!("table {}: {error}", table.name)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Copied, Progress, check, source};
    use crate::{Error, Migration, Result, Url, sqlite};

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

    /// Compares two equal files after `change` was applied to the second.
    fn compared(change: &str) -> Result<Vec<Copied>> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let side = |name: &str, change: &str| {
            let path = folder.path().join(name);
            let url = Url::parse(&format!("sqlite:{}", path.display()), Path::new("/"))?;
            sqlite::migrate::run(&path, SCHEMA, 1)?;
            let connection = rusqlite::Connection::open(&path)?;
            connection.execute_batch(&format!("{ROWS}; {change}"))?;
            drop(connection);
            source(&url, SCHEMA)
        };
        let (mut one, mut other) = (side("one", "")?, side("other", change)?);
        let tables = one.tables()?;
        check(&mut *one, &mut *other, &tables, &mut |_progress: Progress<'_>| {})
    }

    #[test]
    fn two_databases_are_equal_only_if_nothing_differs() {
        let same = compared("UPDATE things SET words = words").expect("they are equal");
        assert_eq!((same[0].table.as_str(), same[0].rows), ("things", 4));
        // The order of insertion does not matter.
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
