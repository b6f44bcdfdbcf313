//! How long the write-ahead log is. SQLite restarts it, which is to say writes it from its
//! beginning once more, when all of it is in the file and nobody reads from it; until then it grows
//! by everything that is written.
//!
//! Scans that overlap would stand in the way for ever. So new ones wait while the log is long,
//! until it was restarted: those that run end soon ([`crate::Tx::is_late`]). What else reads for
//! long, such as a backup by another process, is not waited for: a scan waits for a second at most,
//! and then none does until the log has grown as much again.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::threads;

/// The length that it should not exceed, 64 MiB in pages of 4 KiB. The file is cut to that.
const LONG: i64 = 16_384;
/// The same in bytes, for SQLite.
pub(super) const LONG_BYTES: i64 = LONG * 4096;
/// How long scans wait for a restart.
const WAIT: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Log {
    /// Pages, as the checkpointer has measured them.
    pages: AtomicI64,
    /// The pages after the last commit, and how many of them are in the file as well.
    committed: AtomicI64,
    copied: AtomicI64,
    gate: Mutex<Gate>,
    /// Wakes scans when the gate opens.
    opened: Condvar,
}

/// Where scans wait.
#[derive(Default)]
struct Gate {
    /// Until when, where they do.
    closed_until: Option<Instant>,
    /// The length at which it closes next, beyond [`LONG`].
    grown: i64,
}

impl Log {
    /// Records the length after a checkpoint.
    pub(super) fn measured(&self, pages: i64) {
        self.pages.store(pages, Relaxed);
        let mut gate = threads::lock(&self.gate);
        if pages <= LONG {
            *gate = Gate::default();
            self.opened.notify_all();
        } else if pages > LONG + gate.grown {
            *gate = Gate { closed_until: Some(Instant::now() + WAIT), grown: pages };
        }
    }

    /// Records the length after a commit. A shorter one was restarted.
    pub(super) fn committed(&self, pages: i64) {
        if pages < self.committed.swap(pages, Relaxed) {
            self.copied.store(0, Relaxed);
        }
    }

    /// Records how much a checkpoint found in the file, or has copied there.
    pub(super) fn copied(&self, pages: i64) {
        self.copied.store(pages, Relaxed);
    }

    /// Pages that are not in the file yet, and may need space of the disk there.
    pub(super) fn left_to_copy(&self) -> i64 {
        self.committed.load(Relaxed) - self.copied.load(Relaxed)
    }

    /// Records that it could not be restarted: it is measured again before the next attempt.
    pub(super) fn postpone(&self) {
        self.pages.store(0, Relaxed);
    }

    /// Whether it is to be restarted.
    pub(super) fn is_long(&self) -> bool {
        self.pages.load(Relaxed) > LONG
    }

    /// Waits while the log is long.
    pub(super) fn wait(&self) {
        let mut gate = threads::lock(&self.gate);
        while let Some(until) = gate.closed_until {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.opened.wait_timeout(gate, left);
            gate = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}
