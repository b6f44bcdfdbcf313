//! The one place where time and chance come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use db::Db;
use jiff::Timestamp;
use mail::webhooks::Kinds;
use mail::{Cx, Time, Wanted};

/// Clocks that are no further apart are the same.
const MILLISECOND: i64 = 1_000;

/// The clock of a server; a test moves it by hand.
///
/// Nodes that share a database go by its time, so that a node whose own clock is wrong ends no
/// session too early or too late, and dates no message wrongly.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    moved: Arc<AtomicI64>,
    /// How far the database's time is ahead of this machine's.
    ahead: Arc<AtomicI64>,
    /// Of which events a webhook is told, as bits: it belongs to the world around an operation.
    webhooks: Arc<AtomicU32>,
    /// Whether who is away is to be reminded of what stays unread.
    reminders: Arc<AtomicBool>,
}

impl Clock {
    /// The present.
    pub fn now(&self) -> Time {
        Self::machine().plus(self.ahead.load(Relaxed)).plus(self.moved.load(Relaxed))
    }

    /// What this machine takes for the present.
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes in")]
    fn machine() -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Sets the clock by the database's, where that has one; returns how far it is ahead.
    ///
    /// # Errors
    /// Where the database cannot be asked; the clock is as it was.
    pub(crate) async fn follow(&self, db: &Db) -> Result<i64, db::Error> {
        let asked = Self::machine().0;
        let Some(theirs) = db.time().await? else { return Ok(0) };
        let answered = Self::machine().0;
        // It was read somewhere in between; what that explains is no reason to set the clock.
        let ahead = theirs - i64::midpoint(asked, answered);
        let known = self.ahead.load(Relaxed);
        if (ahead - known).abs() <= (answered - asked) / 2 + MILLISECOND {
            return Ok(known);
        }
        self.ahead.store(ahead, Relaxed);
        Ok(ahead)
    }

    /// The world around an operation that happens now.
    pub fn cx(&self) -> Cx {
        let wanted = Wanted {
            webhooks: Kinds::from_bits(self.webhooks.load(Relaxed)),
            reminders: self.reminders.load(Relaxed),
        };
        Cx { now: self.now(), random, wanted }
    }

    /// Says of which events a webhook is told from now on.
    pub(crate) fn want_webhooks(&self, kinds: Kinds) {
        self.webhooks.store(kinds.bits(), Relaxed);
    }

    /// Says whether somebody is to be reminded from now on.
    pub(crate) fn want_reminders(&self, on: bool) {
        self.reminders.store(on, Relaxed);
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
