//! The files of a database, and what is done to them without SQLite.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A new database that is not complete, beside the one it becomes. Removed unless it was renamed.
pub(super) struct Partial {
    pub(super) path: PathBuf,
}

impl Partial {
    /// Makes an empty file, and removes what a killed process may have left: its log must not meet
    /// the new database.
    pub(super) fn create(target: &Path) -> Result<Self> {
        let partial = Self { path: target.with_added_extension("partial") };
        partial.clean()?;
        let made = private().create_new(true).open(&partial.path);
        made.map_err(|cause| Error::file("create", &partial.path, &cause))?;
        Ok(partial)
    }

    /// Gives the file its name, for good.
    pub(super) fn rename(&self, target: &Path) -> Result<()> {
        rename(&self.path, target)?;
        sync_folder(target)
    }

    fn clean(&self) -> Result<()> {
        ["", "-wal", "-shm", "-journal"]
            .iter()
            .try_for_each(|rest| remove(&beside(&self.path, rest)))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Best effort: a file named `.partial` is no database.
        drop(self.clean());
    }
}

/// For files that only their owner may read: they contain all messages.
pub(super) fn private() -> OpenOptions {
    let mut options = File::options();
    options.write(true).mode(0o600);
    options
}

pub(super) fn sync(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|cause| Error::file("write", path, &cause))
}

/// Syncs the folder of a file: only then is a rename on the disk.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    sync(folder)
}

/// The path of one of SQLite's files beside a database.
pub(super) fn beside(path: &Path, rest: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(rest);
    name.into()
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
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

/// The lock that keeps a second server away from a database. Held until it is dropped.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is being started inherits it for a moment.
        // If unlocking fails, the lock ends with the last copy.
        drop(self.0.unlock());
    }
}

pub(super) fn lock(path: &Path) -> Result<Lock> {
    let beside = path.with_added_extension("lock");
    let file = private().create(true).truncate(false).open(&beside);
    let file = file.map_err(|cause| Error::file("open", &beside, &cause))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_path_buf())),
        Err(TryLockError::Error(cause)) => Err(Error::file("lock", &beside, &cause)),
    }
}
