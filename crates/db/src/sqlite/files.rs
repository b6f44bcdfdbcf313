//! The files of a database, and what is done to them without SQLite.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// How the name of a database ends that is not complete, like that of no other program's file.
const PARTIAL: &str = "postroom.partial";

/// A new database that is not complete, beside the one it becomes. Removed unless it was renamed.
pub(super) struct Partial {
    pub(super) path: PathBuf,
    /// Locked, so that nobody takes it for what a killed process has left.
    file: File,
}

impl Partial {
    /// Makes an empty file, and removes what killed processes have left in its folder: such a file
    /// may hold all messages, and its log must not meet the new database.
    pub(super) fn create(target: &Path) -> Result<Self> {
        let path = target.with_added_extension(PARTIAL);
        remove_abandoned(target);
        loop {
            let made = private().create_new(true).open(&path);
            let file = made.map_err(|cause| Error::file("create", &path, &cause))?;
            // Not every file system has locks.
            let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            // Somebody may have taken it for abandoned just before.
            if !is_taken && is_at(&file, &path) {
                remove_rest(&path)?;
                return Ok(Self { path, file });
            }
        }
    }

    /// Another handle of the file.
    pub(super) fn file(&self) -> Result<File> {
        self.file.try_clone().map_err(|cause| Error::file("open", &self.path, &cause))
    }

    /// Gives the file its name, for good.
    pub(super) fn rename(&self, target: &Path) -> Result<()> {
        rename(&self.path, target)?;
        sync_folder(target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Best effort: the next one removes it.
        if is_at(&self.file, &self.path) {
            drop(remove_rest(&self.path).and_then(|()| remove(&self.path)));
        }
    }
}

/// Removes what belongs to an incomplete database, which itself goes last: it is found by its name.
fn remove_rest(partial: &Path) -> Result<()> {
    ["-wal", "-shm", "-journal"].iter().try_for_each(|rest| remove(&beside(partial, rest)))
}

/// Removes incomplete databases in the folder of a path that no process is making any more. What
/// cannot be removed stays.
pub(crate) fn remove_abandoned(path: &Path) {
    for partial in in_folder(path, |name| name.ends_with(&format!(".{PARTIAL}"))) {
        let Ok(file) = File::open(&partial) else { continue };
        if file.try_lock().is_ok() && is_at(&file, &partial) {
            match remove_rest(&partial).and_then(|()| remove(&partial)) {
                Ok(()) => {
                    let path = partial.display();
                    tracing::info!(%path, "removed an incomplete copy of a database");
                }
                Err(error) => tracing::warn!(%error, "an incomplete copy of a database stays"),
            }
        }
    }
}

/// What migrations and restores have kept of a database, in the order of their names.
pub(crate) fn kept(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return Vec::new() };
    let mut kept = in_folder(path, |other| {
        let rest = other.strip_prefix(name).and_then(|rest| rest.strip_prefix(".before-"));
        rest.is_some() && confirm_name(Path::new(other)).is_ok()
    });
    kept.sort();
    kept
}

/// The files in the folder of a path with such names.
fn in_folder(path: &Path, has_name: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = folder(path).read_dir().into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let named = files.filter(|entry| entry.file_name().to_str().is_some_and(&has_name));
    named.map(|entry| entry.path()).collect()
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
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
    sync(folder(path))
}

/// The path of one of SQLite's files beside a database.
pub(super) fn beside(path: &Path, rest: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(rest);
    name.into()
}

/// Whether something is in the log of a database.
pub(super) fn has_log(path: &Path) -> bool {
    log_bytes(path) > 0
}

/// The size of the log of a database; 0 where there is none.
pub(super) fn log_bytes(path: &Path) -> u64 {
    fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len())
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

/// The file that a path leads to: what belongs to a database is beside that, not beside a link.
pub(crate) fn real(path: PathBuf) -> PathBuf {
    if path.is_symlink() { fs::canonicalize(&path).unwrap_or(path) } else { path }
}

/// Refuses the name of a database that is used for what is beside one: it would be removed as such.
pub(super) fn confirm_name(path: &Path) -> Result<()> {
    let name = path.as_os_str().as_encoded_bytes();
    let ends = [".lock", ".partial", "-wal", "-shm", "-journal", "-reserve"];
    if !ends.iter().any(|end| name.ends_with(end.as_bytes())) {
        return Ok(());
    }
    Err(Error::File(format!(
        "{} cannot be the name of a copy: what belongs to a database beside it is kept under such \
         a name. Use another one",
        path.display()
    )))
}

/// The same for a new file, which a migration would remove under the names of its copies.
pub(super) fn confirm_new_name(path: &Path) -> Result<()> {
    let end = path.extension().map(OsStr::as_encoded_bytes);
    if end.is_some_and(|end| end.starts_with(b"before-")) {
        let path = path.display();
        return Err(Error::File(format!(
            "{path} cannot be the name of a copy: migrations and restores keep the database of \
             before under such a name. Use another one"
        )));
    }
    confirm_name(path)
}

/// The lock that keeps a second server away from a database. Held until it is dropped, and its file
/// goes with it.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // First, so that nobody has locked it yet. If it stays, the next one locks it again.
        drop(fs::remove_file(&self.path));
        // Closing the file is not enough: a process that is being started inherits it for a moment.
        // If unlocking fails, the lock ends with the last copy.
        drop(self.file.unlock());
    }
}

pub(super) fn lock(path: &Path) -> Result<Lock> {
    let beside = path.with_added_extension("lock");
    loop {
        let file = private().create(true).truncate(false).open(&beside);
        let file = file.map_err(|cause| Error::file("open", &beside, &cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(path.to_path_buf())),
            Err(TryLockError::Error(cause)) => return Err(Error::file("lock", &beside, &cause)),
        }
        // Who held it may have removed it after it was opened here; then it locks nothing.
        if is_at(&file, &beside) {
            return Ok(Lock { file, path: beside });
        }
    }
}

/// Whether this is the file that has the path now.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |file: io::Result<Metadata>| file.ok().map(|file| (file.dev(), file.ino()));
    let ours = id(file.metadata());
    ours.is_some() && ours == id(fs::metadata(path))
}
