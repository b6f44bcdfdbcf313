//! Backups of a database in use, and SQLite's integrity check.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::connection::{self, Role};
use super::contents;
use super::files::{Partial, confirm_new_name, sync};
use crate::{Error, Result};

/// Instructions of SQLite between two looks at whether a copy shall go on: some 0.1 ms.
const LOOK: i32 = 1000;
/// So much of a copy may wait for the disk. A sync of all of it at the end would hold up the
/// commits of the server, which sync to the same disk.
const UNSYNCED: u64 = 16 << 20;

/// A copy of a database, checked, under a name that nobody takes for that of a whole one. It is
/// removed unless it is kept; where the process is killed, by the next copy in its folder.
pub struct Snapshot {
    partial: Partial,
    target: PathBuf,
}

impl Snapshot {
    /// Copies the database for as long as `goes_on`, which may also wait, and checks the copy.
    fn make(
        path: &Path,
        target: &Path,
        goes_on: impl FnMut() -> bool + Clone + Send + 'static,
    ) -> Result<Self> {
        if target.exists() {
            return Err(Error::Exists(target.to_path_buf()));
        }
        let mut source = connection::open(path, Role::Tool)?;
        // VACUUM INTO only writes the copy, but `query_only` forbids that, too.
        source.execute_batch("PRAGMA query_only = OFF")?;
        let partial = Partial::create(target)?;
        let (file, mut synced, mut next) = (partial.file()?, 0, goes_on.clone());
        watch(&mut source, move || {
            let written = file.metadata().map_or(0, |file| file.len());
            if written >= synced + UNSYNCED {
                synced = written;
                // What fails here fails at the end as well.
                drop(file.sync_data());
            }
            next()
        })?;
        // One statement reads one snapshot, without blocking writers.
        source.execute("VACUUM INTO ?1", [partial.path.to_string_lossy()])?;
        sync(&partial.path)?;
        intact_while(&partial.path, &partial.path, goes_on)?;
        Ok(Self { partial, target: target.to_path_buf() })
    }

    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.partial.path
    }

    /// Gives it the name that it was made for.
    ///
    /// # Errors
    /// If the file system does not allow it; no copy is left then.
    pub fn keep(self) -> Result<()> {
        self.partial.rename(&self.target)
    }
}

/// The same for a process that has the database open: it is known to be ours.
pub(crate) fn snapshot(
    path: &Path,
    target: &Path,
    goes_on: impl FnMut() -> bool + Clone + Send + 'static,
) -> Result<Snapshot> {
    confirm_new_name(target)?;
    Snapshot::make(path, target, goes_on)
}

pub(crate) fn run(path: &Path, target: &Path) -> Result<Snapshot> {
    confirm_new_name(target)?;
    make(path, target)
}

/// The same under any name.
pub(super) fn make(path: &Path, target: &Path) -> Result<Snapshot> {
    contents::confirm(path)?;
    Snapshot::make(path, target, || true)
}

/// Interrupts a connection as soon as it shall not go on.
fn watch(
    connection: &mut Connection,
    mut goes_on: impl FnMut() -> bool + Send + 'static,
) -> Result<()> {
    Ok(connection.progress_handler(LOOK, Some(move || !goes_on()))?)
}

/// Refuses a damaged file, under the name `shown`.
pub(super) fn intact(path: &Path, shown: &Path) -> Result<()> {
    intact_while(path, shown, || true)
}

fn intact_while(
    path: &Path,
    shown: &Path,
    goes_on: impl FnMut() -> bool + Send + 'static,
) -> Result<()> {
    match integrity(path, goes_on)?.into_iter().next() {
        None => Ok(()),
        Some(problem) => Err(Error::Damaged { path: shown.to_path_buf(), problem }),
    }
}

/// The problems that SQLite finds in a database of this program.
pub(crate) fn check(path: &Path) -> Result<Vec<String>> {
    match contents::confirm(path) {
        // What is damaged may not show what it is.
        Ok(()) | Err(Error::Failed(_)) => integrity(path, || true),
        Err(refused) => Err(refused),
    }
}

/// The problems that SQLite finds in a file.
fn integrity(path: &Path, goes_on: impl FnMut() -> bool + Send + 'static) -> Result<Vec<String>> {
    let problems = || -> Result<Vec<String>> {
        let mut connection = connection::open(path, Role::Tool)?;
        watch(&mut connection, goes_on)?;
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
