//! The one place where time and chance come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use mail::{Cx, Time};

/// The clock of a server; a test moves it by hand.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    moved: Arc<AtomicI64>,
}

impl Clock {
    /// The present.
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes in")]
    pub fn now(&self) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Time(now).plus(self.moved.load(Relaxed))
    }

    /// The world around an operation that happens now.
    pub fn cx(&self) -> Cx {
        Cx { now: self.now(), random }
    }

    /// Moves this clock and all its clones by so many microseconds.
    pub fn advance(&self, microseconds: i64) {
        self.moved.fetch_add(microseconds, Relaxed);
    }
}

/// A moment as answers write it: RFC 3339, in UTC.
pub(crate) fn rfc3339(time: Time) -> String {
    Timestamp::from_microsecond(time.0).unwrap_or(Timestamp::MAX).to_string()
}

/// Fills a slice from the system's source of randomness.
#[expect(clippy::disallowed_methods, reason = "this is where chance comes in")]
pub(crate) fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system has randomness");
}
