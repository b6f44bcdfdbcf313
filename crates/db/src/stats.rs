//! Figures of a running engine, for the metrics.

/// Figures of a running engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Work that waits or runs now: writes, and on PostgreSQL reads as well.
    pub queued: usize,
    /// Committed writes.
    pub writes: u64,
    /// Commits that contained them.
    pub commits: u64,
    /// SQLite: size of the file of the write-ahead log, whatever part of it is in use.
    pub log_bytes: u64,
    /// SQLite: whether only what frees space is written, because the disk is full.
    pub full: bool,
    /// PostgreSQL: open connections, without the one for notices.
    pub connections: usize,
    /// PostgreSQL: commits whose caller has been answered with [`crate::Error::Unknown`] while
    /// the server still waits for a standby.
    pub waiting: usize,
    /// PostgreSQL: how often work was run again, because of a conflict, a lost connection or a
    /// failed statement of a short read.
    pub retries: u64,
    /// PostgreSQL: how often all connections were given up at once, because the server went away,
    /// became read-only or did not answer.
    pub left: u64,
}
