//! Copies of a database that is in use, and the engine's own check of a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::connection::{self, Kind};
use crate::{Error, Result};

pub(crate) fn run(path: &Path, target: &Path) -> Result<()> {
    if target.exists() {
        return Err(Error::Exists(target.to_path_buf()));
    }
    let partial = partial(target);
    let made = copy(path, &partial)
        .and_then(|()| {
            fs::rename(&partial, target).map_err(|cause| Error::file("rename", &partial, &cause))
        })
        .and_then(|()| sync_folder(target));
    if made.is_err() {
        // Best effort: what is left of it is named `.partial` and is no backup.
        drop(fs::remove_file(&partial));
    }
    made
}

/// The name that a file has until it is whole.
pub(super) fn partial(target: &Path) -> PathBuf {
    target.with_added_extension("partial")
}

/// One statement reads one snapshot, so writers are neither held up nor half seen.
fn copy(path: &Path, partial: &Path) -> Result<()> {
    let source = connection::open(path, Kind::Tool)?;
    // Writing the copy is not writing to the database, but the engine does not tell them apart.
    source.execute_batch("PRAGMA query_only = OFF")?;
    drop(create_private(partial)?);
    source.execute("VACUUM INTO ?1", [partial.to_string_lossy()])?;
    sync(partial)?;
    match integrity(partial)?.into_iter().next() {
        None => Ok(()),
        Some(problem) => Err(Error::Damaged { path: partial.to_path_buf(), problem }),
    }
}

/// Makes an empty file that only its owner may read: it will hold everybody's letters.
pub(super) fn create_private(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    made.map_err(|cause| Error::file("create", path, &cause))
}

pub(super) fn sync(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|cause| Error::file("write", path, &cause))
}

/// A rename is on the disk when its folder is.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    sync(folder)
}

/// What the engine finds wrong with a file.
pub(crate) fn integrity(path: &Path) -> Result<Vec<String>> {
    let problems = || -> Result<Vec<String>> {
        let connection = connection::open(path, Kind::Tool)?;
        let mut found = Vec::new();
        // The engine takes what is missing of the last page for zeros.
        let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let length = fs::metadata(path).map_err(|cause| Error::file("read", path, &cause))?.len();
        if length % u64::from(page) != 0 {
            found.push("the file ends within a page".to_owned());
        }
        for check in ["PRAGMA integrity_check", "PRAGMA foreign_key_check"] {
            let mut statement = connection.prepare(check)?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            for row in rows {
                let row = row?;
                if row != "ok" {
                    found.push(row);
                }
            }
        }
        Ok(found)
    };
    match problems() {
        Err(Error::Failed(problem)) => Ok(vec![problem]),
        other => other,
    }
}
