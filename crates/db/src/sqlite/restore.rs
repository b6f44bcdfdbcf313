//! Puts a backup in the place of the database, and keeps what was there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::connection::{self, Kind};
use super::{backup, lock, migrate};
use crate::{Error, Migration, Result, Tx};

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where the database that was there before is now.
    pub kept: Option<PathBuf>,
}

pub(crate) fn run(
    path: &Path,
    source: &Path,
    schema: &[Migration],
    stamp: &str,
    prepare: impl FnOnce(&mut Tx<'_>) -> Result<()>,
) -> Result<Restored> {
    let _alone = lock(path)?;
    if !source.is_file() {
        return Err(Error::File(format!("there is no file {}", source.display())));
    }
    let partial = backup::partial(path);
    let made =
        stage(source, &partial, schema, prepare).and_then(|()| exchange(path, &partial, stamp));
    if made.is_err() {
        // Best effort: the database itself has not been touched.
        drop(fs::remove_file(&partial));
    }
    made
}

/// Copies the backup beside the database, checks it and brings it up to date.
fn stage(
    source: &Path,
    partial: &Path,
    schema: &[Migration],
    prepare: impl FnOnce(&mut Tx<'_>) -> Result<()>,
) -> Result<()> {
    // What a killed restore left: its log would be taken for one of the new copy.
    for rest in ["", "-wal", "-shm", "-journal"] {
        remove(&beside(partial, rest))?;
    }
    // Not `fs::copy`, which would make the database as readable as the backup was.
    {
        let mut private = backup::create_private(partial)?;
        let copied = File::open(source).and_then(|mut file| io::copy(&mut file, &mut private));
        copied.map_err(|cause| Error::file("copy", source, &cause))?;
    }
    if let Some(problem) = backup::integrity(partial)?.into_iter().next() {
        return Err(Error::Damaged { path: source.to_path_buf(), problem });
    }
    {
        let connection = connection::open(partial, Kind::Writer)?;
        match migrate::verify(&connection, schema) {
            // An older one is migrated when the server starts, as any other database.
            Err(Error::SchemaOlder { found, .. }) if found > 0 => {}
            Err(Error::SchemaOlder { .. }) => {
                let problem = "it holds no database of this program".to_owned();
                return Err(Error::Damaged { path: source.to_path_buf(), problem });
            }
            other => other?,
        }
        connection.execute_batch("BEGIN IMMEDIATE")?;
        prepare(&mut Tx::sqlite(&connection))?;
        connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
    }
    backup::sync(partial)
}

fn exchange(path: &Path, partial: &Path, stamp: &str) -> Result<Restored> {
    let kept = path.exists().then(|| path.with_added_extension(format!("before-restore-{stamp}")));
    if let Some(kept) = &kept {
        if kept.exists() {
            return Err(Error::Exists(kept.clone()));
        }
        match fold(path) {
            Err(Error::Busy) => return Err(Error::Busy),
            // That may be why there is a restore. It is kept as it is, and its log with it.
            Err(error) => tracing::warn!(%error, "the database that was there cannot be read"),
            Ok(()) => {}
        }
        // A second name: were there no file for a moment, a start would make an empty database.
        // Not every file system has such names.
        let named = fs::hard_link(path, kept).or_else(|_none| fs::rename(path, kept));
        named.map_err(|cause| Error::file("keep", path, &cause))?;
    }
    if let Err(error) = replace(path, partial, kept.as_deref()) {
        if let Some(kept) = &kept {
            put_back(path, kept);
        }
        return Err(error);
    }
    backup::sync_folder(path)?;
    Ok(Restored { kept })
}

/// Copies the log back, so that the one file is all of the database.
fn fold(path: &Path) -> Result<()> {
    let connection = connection::open(path, Kind::Checkpointer)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy { Err(Error::Busy) } else { Ok(()) }
}

/// Renames `partial`, after the log that is in its way; a log must never meet another database.
fn replace(path: &Path, partial: &Path, kept: Option<&Path>) -> Result<()> {
    let log = beside(path, "-wal");
    match kept {
        Some(kept) if log.exists() => rename(&log, &beside(kept, "-wal"))?,
        _ => remove(&log)?,
    }
    remove(&beside(path, "-shm"))?;
    rename(partial, path)
}

/// Gives the old database its place again; what fails here leaves it under the name it is kept by.
fn put_back(path: &Path, kept: &Path) {
    drop(fs::rename(beside(kept, "-wal"), beside(path, "-wal")));
    drop(if path.exists() { fs::remove_file(kept) } else { fs::rename(kept, path) });
}

/// One of the engine's own files of a database.
pub(super) fn beside(path: &Path, rest: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(rest);
    name.into()
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|cause| Error::file("rename", from, &cause))
}

pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("remove", path, &cause))
        }
        _ => Ok(()),
    }
}
