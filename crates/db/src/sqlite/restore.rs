//! Replaces the database with a backup, and keeps the previous one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::connection::{self, Role};
use super::files::{
    Partial, beside, confirm_name, lock, private, real, remove, rename, sync, sync_folder,
};
use super::prepared::Prepared;
use super::{backup, contents, migrate};
use crate::{Error, Migration, Result, Tx, migrate::plan, tx::On};

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The new path of the previous database, if there was one.
    pub kept: Option<PathBuf>,
}

/// Restores a file.
pub(crate) fn run(
    path: &Path,
    source: &Path,
    schema: &[Migration],
    at: (i64, &str),
    prepare: impl FnOnce(&mut Tx<'_>, Option<&mut Tx<'_>>) -> Result<()>,
) -> Result<Restored> {
    confirm_name(source)?;
    let source = &real(source.to_path_buf());
    confirm_name(source)?;
    let fill = |mut to: File, partial: &Path| {
        if !source.is_file() {
            return Err(Error::File(format!("there is no file {}", source.display())));
        }
        // Not `fs::copy`, which copies the backup's permissions.
        let copy = |from: &Path, to: &mut File| {
            let copied = File::open(from).and_then(|mut from| io::copy(&mut from, to));
            copied.map(drop).map_err(|cause| Error::file("copy", from, &cause))
        };
        copy(source, &mut to)?;
        // A copy of a folder has what was written last in the log.
        let log = beside(source, "-wal");
        if log.exists() {
            let to = private().create(true).truncate(true).open(beside(partial, "-wal"));
            copy(&log, &mut to.map_err(|cause| Error::file("copy", &log, &cause))?)?;
        }
        Ok(())
    };
    filled(path, source, fill, schema, at, prepare)
}

/// Restores what `fill` writes into an empty file, which has this path until it is whole; `source`
/// is named in errors.
pub(crate) fn filled(
    path: &Path,
    source: &Path,
    fill: impl FnOnce(File, &Path) -> Result<()>,
    schema: &[Migration],
    (now, stamp): (i64, &str),
    prepare: impl FnOnce(&mut Tx<'_>, Option<&mut Tx<'_>>) -> Result<()>,
) -> Result<Restored> {
    let _alone = lock(path)?;
    let partial = Partial::create(path)?;
    fill(partial.file()?, &partial.path)?;
    stage(source, &partial.path, schema, now, |tx| {
        // Opened where a log can be read back, but never to be changed.
        let replaced = path.exists().then(|| connection::open(path, Role::Tool));
        match replaced {
            Some(Ok(replaced)) => {
                let replaced = Prepared::new(replaced);
                prepare(tx, Some(&mut Tx::on(On::Sqlite(&replaced))))
            }
            _none_or_unreadable => prepare(tx, None),
        }
    })?;
    exchange(path, &partial.path, stamp)
}

/// Checks the copy of the backup beside the database, migrates it and runs `prepare` on it.
fn stage(
    source: &Path,
    partial: &Path,
    schema: &[Migration],
    now: i64,
    prepare: impl FnOnce(&mut Tx<'_>) -> Result<()>,
) -> Result<()> {
    backup::intact(partial, source)?;
    {
        let connection = Prepared::new(connection::open(partial, Role::Writer)?);
        let (migrated, steps) = plan(schema, &contents::applied(&connection)?)?;
        if migrated.from == 0 {
            let problem = "it is not a database of this program".to_owned();
            return Err(Error::Damaged { path: source.to_path_buf(), problem });
        }
        connection.execute_batch("BEGIN IMMEDIATE")?;
        migrate::apply(&connection, steps, now)?;
        prepare(&mut Tx::on(On::Sqlite(&connection)))?;
        connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
    }
    sync(partial)
}

fn exchange(path: &Path, partial: &Path, stamp: &str) -> Result<Restored> {
    let kept = path.exists().then(|| free_name(path, stamp));
    if let Some(kept) = &kept {
        match fold(path) {
            Err(Error::Busy) => return Err(Error::Busy),
            // That may be the reason for the restore. It is kept unchanged, together with its log.
            Err(error) => tracing::warn!(%error, "the previous database cannot be read"),
            Ok(()) => {}
        }
        // A hard link, because a server started while there is no file would create an empty
        // database. Not every file system has hard links.
        let named = fs::hard_link(path, kept).or_else(|_none| fs::rename(path, kept));
        named.map_err(|cause| Error::file("keep", path, &cause))?;
    }
    if let Err(error) = replace(path, partial, kept.as_deref()) {
        if let Some(kept) = &kept {
            put_back(path, kept);
        }
        return Err(error);
    }
    sync_folder(path)?;
    Ok(Restored { kept })
}

/// A name for the previous database that nothing has: of two restores at the same time, the second
/// gets a number.
fn free_name(path: &Path, stamp: &str) -> PathBuf {
    let first = path.with_added_extension(format!("before-restore-{stamp}"));
    let (mut name, mut number) = (first.clone(), 1);
    while name.exists() || beside(&name, "-wal").exists() {
        number += 1;
        name = beside(&first, &format!("-{number}"));
    }
    name
}

/// Copies the log back, so that the file alone is the whole database.
fn fold(path: &Path) -> Result<()> {
    let connection = connection::open(path, Role::Checkpointer)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy { Err(Error::Busy) } else { Ok(()) }
}

/// Renames `partial` after moving the old log away, which must never meet another database.
fn replace(path: &Path, partial: &Path, kept: Option<&Path>) -> Result<()> {
    let log = beside(path, "-wal");
    match kept {
        Some(kept) if log.exists() => rename(&log, &beside(kept, "-wal"))?,
        _ => remove(&log)?,
    }
    remove(&beside(path, "-shm"))?;
    rename(partial, path)
}

/// Moves the old database back. If that fails, it stays under the name it is kept by.
fn put_back(path: &Path, kept: &Path) {
    drop(fs::rename(beside(kept, "-wal"), beside(path, "-wal")));
    drop(if path.exists() { fs::remove_file(kept) } else { fs::rename(kept, path) });
}
