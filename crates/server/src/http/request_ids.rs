//! Request ids.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The request ids of a worker: unique among workers and restarts.
pub(super) struct RequestIds {
    next: AtomicU64,
}

/// The id of a request: 16 hexadecimal digits.
#[derive(Clone, Copy)]
pub(super) struct RequestId([u8; 16]);

impl RequestIds {
    /// Begins with 32 random bits, so that the ids of two workers are far from each other.
    pub(super) fn new(start: [u8; 4]) -> Self {
        Self { next: AtomicU64::new(u64::from(u32::from_be_bytes(start)) << 32) }
    }

    pub(super) fn next(&self) -> RequestId {
        let mut digits = [0; 16];
        let number = self.next.fetch_add(1, Relaxed);
        hex::encode_to_slice(number.to_be_bytes(), &mut digits).expect("8 bytes are 16 digits");
        RequestId(digits)
    }
}

impl RequestId {
    pub(super) fn digits(self) -> [u8; 16] {
        self.0
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}
