//! The files of backups, and what `sha256sum` says of them.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use db::Url;
use sha2::{Digest as _, Sha256};

/// How much of a file is read at a time.
const PIECE: usize = 1 << 20;
/// So much of a disk is left beside a backup.
const LEFT: u64 = 64 << 20;

/// Refuses to begin a copy for which the disk has no room: the server needs some as well.
///
/// # Errors
/// If there is too little.
pub(crate) fn confirm_room(database: &Url, target: &Path) -> Result<()> {
    let Some(file) = database.path() else { return Ok(()) };
    let needed = fs::metadata(file).map_or(0, |file| file.len()) + LEFT;
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Where that cannot be told, the copy will show it.
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    ensure!(
        free >= needed,
        "there are {} MiB free in {}, and a backup needs {} MiB: make room",
        free >> 20,
        folder.display(),
        needed >> 20
    );
    Ok(())
}

/// The names and sizes of the files in a folder.
pub(super) fn files(folder: &Path) -> Result<Vec<(String, u64)>> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let read = || -> std::io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(here)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if let (true, Ok(name)) = (about.is_file(), entry.file_name().into_string()) {
                found.push((name, about.len()));
            }
        }
        Ok(found)
    };
    read().with_context(|| format!("cannot list {}", here.display()))
}

/// Reads the beginning of a file. Whose it is does not matter: backups come from other machines.
pub(super) fn read_start(path: &Path, most: usize) -> std::io::Result<Vec<u8>> {
    // Anything else might never end, or never begin.
    if !fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file that only its owner may read, and syncs it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = made.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn sha256(mut file: &File, mut goes_on: impl FnMut() -> bool) -> Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        ensure!(goes_on(), "it was ended");
        match file.read(&mut piece).context("cannot read the copy")? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}

/// The checksum of a file in what `sha256sum` prints: the line with its name, or the only line.
pub(super) fn checksum_of(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| {
        let (sum, file) = line.split_once(' ')?;
        let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        // A star stands for binary.
        let file = file.strip_prefix([' ', '*']).unwrap_or(file);
        is_sum.then(|| (sum.to_ascii_lowercase(), Path::new(file).file_name()))
    });
    let lines: Vec<_> = lines.collect();
    let of_name = lines.iter().find(|(_, file)| file.is_some_and(|file| file == name));
    let only = (lines.len() == 1).then(|| &lines[0]);
    of_name.or(only).map(|(sum, _)| sum.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_read_as_sha256sum_writes_it() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        let two = format!("{a}  today.db\n{b} */backups/other.db\n");
        assert_eq!(checksum_of(&two, "today.db"), Some(a.clone()));
        assert_eq!(checksum_of(&two, "other.db"), Some("b".repeat(64)));
        assert_eq!(checksum_of(&two, "third.db"), None);
        assert_eq!(checksum_of(&format!("{a}  renamed.db"), "today.db"), Some(a));
        assert_eq!(checksum_of("", "today.db"), None);
        assert_eq!(checksum_of("no checksum  today.db", "today.db"), None);
    }
}
