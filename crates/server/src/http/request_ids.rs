//! The ids of requests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::header::HeaderValue;

/// The ids of a worker's requests: unique over workers and restarts, told to the client and the
/// log.
pub(super) struct RequestIds {
    start: u32,
    count: AtomicU64,
}

impl RequestIds {
    /// Begins with 32 random bits for this worker and this run of the server.
    pub(super) fn new(start: [u8; 4]) -> Self {
        Self { start: u32::from_be_bytes(start), count: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Relaxed);
        HeaderValue::try_from(format!("{:08x}{count:08x}", self.start)).expect("it is hexadecimal")
    }
}
