//! Request ids.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The request ids of a worker: unique among workers and restarts.
pub(super) struct RequestIds {
    start: u32,
    count: AtomicU64,
}

/// The id of a request.
#[derive(Clone, Copy)]
pub(super) struct RequestId {
    start: u32,
    number: u64,
}

impl RequestIds {
    /// Begins with 32 random bits.
    pub(super) fn new(start: [u8; 4]) -> Self {
        Self { start: u32::from_be_bytes(start), count: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> RequestId {
        RequestId { start: self.start, number: self.count.fetch_add(1, Relaxed) }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:08x}", self.start, self.number)
    }
}
