//! The reserve: a file beside the database that takes up space of the disk. When the disk is full
//! it is emptied, and until there is as much space again, on the disk or within the database, only
//! what frees space is written. So the users of a full disk can delete.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rusqlite::Connection;

use super::connection::{self, Role};
use super::files::{beside, private, remove};
use crate::{Error, Purpose, Result, threads};

/// The size of SQLite's pages.
const PAGE: u64 = 4096;
const PIECE: &[u8] = &[0x5a; 64 * 1024];

#[derive(Default)]
pub(super) struct Reserve {
    /// How much is to be kept; 0 keeps nothing.
    wanted: AtomicU64,
    /// Whether the file has less. What is missing, the database must have free within: then writes
    /// need no space of the disk.
    is_short: AtomicBool,
    /// Whether only what frees space is written.
    is_used: AtomicBool,
    file: Mutex<Option<Kept>>,
}

struct Kept {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Reserve {
    /// Takes up so many bytes. Where neither the disk nor the database has as much, it is a quarter
    /// of what the disk has.
    pub(super) fn keep(&self, database: &Path, mut bytes: u64) -> Result<()> {
        let path = beside(database, "-reserve");
        if bytes == 0 {
            return remove(&path);
        }
        let free = free_bytes(&connection::open(database, Role::Tool)?);
        let error = |cause: &io::Error| Error::file("write", &path, cause);
        let opened = private().create(true).append(true).open(&path);
        let file = opened.map_err(|cause| error(&cause))?;
        let length = file.metadata().map_err(|cause| error(&cause))?.len();
        let mut kept = Kept { path: path.clone(), file, bytes: length };
        kept.grow(bytes).map_err(|cause| error(&cause))?;
        if kept.bytes.saturating_add(free) < bytes {
            bytes = kept.bytes / 4;
            tracing::warn!(bytes, "the disk is nearly full, so less of it is kept for deletions");
        }
        kept.shrink(bytes).map_err(|cause| error(&cause))?;
        self.wanted.store(bytes, Relaxed);
        self.is_short.store(kept.bytes < bytes, Relaxed);
        *threads::lock(&self.file) = Some(kept);
        Ok(())
    }

    /// Whether so many pages of the log, which have to be copied into the file before the log has
    /// space again, may take up more than the reserve. A quarter is left to what is written then.
    pub(super) fn is_exceeded_by(&self, pages: i64) -> bool {
        let wanted = self.wanted.load(Relaxed);
        wanted > 0 && u64::try_from(pages).is_ok_and(|pages| pages * PAGE > wanted / 4 * 3)
    }

    /// Whether what is written for this purpose is refused for now.
    pub(super) fn refuses(&self, purpose: Purpose) -> bool {
        purpose == Purpose::Store && self.is_used()
    }

    pub(super) fn is_used(&self) -> bool {
        self.is_used.load(Relaxed)
    }

    pub(super) fn is_short(&self) -> bool {
        self.is_short.load(Relaxed)
    }

    /// Gives what there is of it to the database.
    pub(super) fn give(&self) {
        let mut file = threads::lock(&self.file);
        let Some(kept) = &mut *file else { return };
        kept.try_to(|kept| kept.shrink(0));
        self.is_short.store(true, Relaxed);
        self.judge(0);
    }

    /// Notes how many bytes the database has free within while the reserve is short.
    pub(super) fn count(&self, free: u64) {
        if let Some(kept) = &*threads::lock(&self.file) {
            self.judge(kept.bytes.saturating_add(free));
        }
    }

    /// Takes up what can be had of the disk.
    pub(super) fn take_back(&self, free: u64) {
        let mut file = threads::lock(&self.file);
        let Some(kept) = &mut *file else { return };
        let wanted = self.wanted.load(Relaxed);
        kept.try_to(|kept| kept.grow(wanted + wanted / 8));
        self.judge(kept.bytes.saturating_add(free));
        kept.try_to(|kept| kept.shrink(wanted));
        self.is_short.store(kept.bytes < wanted, Relaxed);
    }

    /// An eighth more has to be there before all is written again, or it would be refused at once.
    fn judge(&self, bytes: u64) {
        let wanted = self.wanted.load(Relaxed);
        if bytes < wanted {
            if !self.is_used.swap(true, Relaxed) {
                tracing::warn!("the disk is full: only what frees space is stored now");
            }
        } else if bytes >= wanted + wanted / 8 && self.is_used.swap(false, Relaxed) {
            tracing::info!("there is space on the disk again");
        }
    }
}

/// The bytes of a database that are free within its file.
pub(super) fn free_bytes(connection: &Connection) -> u64 {
    let free = connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
    free.ok().and_then(|pages| u64::try_from(pages).ok()).unwrap_or_default() * PAGE
}

impl Kept {
    /// Makes it as large as that, or as the disk allows.
    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        while self.bytes < bytes {
            let piece = bytes.saturating_sub(self.bytes).min(PIECE.len() as u64);
            let piece = usize::try_from(piece).map_or(PIECE, |piece| &PIECE[..piece]);
            match self.file.write(piece) {
                Ok(0) => break,
                Ok(written) => self.bytes += written as u64,
                Err(cause) if is_full(&cause) => break,
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    fn shrink(&mut self, bytes: u64) -> io::Result<()> {
        if self.bytes > bytes {
            self.file.set_len(bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    fn try_to(&mut self, f: impl FnOnce(&mut Self) -> io::Result<()>) {
        if let Err(error) = f(self) {
            tracing::warn!(%error, path = %self.path.display(), "the reserve cannot be changed");
        }
    }
}

/// Also where it is a quota that is used up, or the limit of a file's size.
fn is_full(cause: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(cause.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
