//! Backups of a database in use, and SQLite's integrity check.

use std::fs;
use std::path::Path;

use super::connection::{self, Role};
use super::contents;
use super::files::{Partial, confirm_new_name, sync};
use crate::{Error, Result};

pub(crate) fn run(path: &Path, target: &Path) -> Result<()> {
    confirm_new_name(target)?;
    make(path, target)
}

/// The same under any name.
pub(super) fn make(path: &Path, target: &Path) -> Result<()> {
    if target.exists() {
        return Err(Error::Exists(target.to_path_buf()));
    }
    contents::confirm(path)?;
    let source = connection::open(path, Role::Tool)?;
    // VACUUM INTO only writes the copy, but `query_only` forbids that, too.
    source.execute_batch("PRAGMA query_only = OFF")?;
    let partial = Partial::create(target)?;
    // One statement reads one snapshot, without blocking writers.
    source.execute("VACUUM INTO ?1", [partial.path.to_string_lossy()])?;
    sync(&partial.path)?;
    intact(&partial.path, &partial.path)?;
    partial.rename(target)
}

/// Refuses a damaged file, under the name `shown`.
pub(super) fn intact(path: &Path, shown: &Path) -> Result<()> {
    match integrity(path)?.into_iter().next() {
        None => Ok(()),
        Some(problem) => Err(Error::Damaged { path: shown.to_path_buf(), problem }),
    }
}

/// The problems that SQLite finds in a database of this program.
pub(crate) fn check(path: &Path) -> Result<Vec<String>> {
    match contents::confirm(path) {
        // What is damaged may not show what it is.
        Ok(()) | Err(Error::Failed(_)) => integrity(path),
        Err(refused) => Err(refused),
    }
}

/// The problems that SQLite finds in a file.
fn integrity(path: &Path) -> Result<Vec<String>> {
    let problems = || -> Result<Vec<String>> {
        let connection = connection::open(path, Role::Tool)?;
        let mut found = Vec::new();
        // SQLite reads the missing part of the last page as zeros.
        let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let length = fs::metadata(path).map_err(|cause| Error::file("read", path, &cause))?.len();
        if length % u64::from(page) != 0 {
            found.push("the file ends within a page".to_owned());
        }
        let mut statement = connection.prepare("PRAGMA integrity_check")?;
        for row in statement.query_map([], |row| row.get::<_, String>(0))? {
            found.push(row?);
        }
        found.retain(|row| row != "ok");
        Ok(found)
    };
    match problems() {
        Err(Error::Failed(problem)) => Ok(vec![problem]),
        other => other,
    }
}
