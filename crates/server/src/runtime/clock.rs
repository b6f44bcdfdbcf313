//! The only sources of time and randomness.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use db::Db;
use domain::webhooks::EventKinds;
use domain::{Cx, NameReservation, Time, Wanted};
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// Differences up to this are not corrected.
const MILLISECOND: i64 = 1_000;

/// The clock of a server, and what else a [`Cx`] is made of. Clones share their state.
///
/// Nodes that share a database use its time, so that a node with a wrong clock does no harm.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Microseconds by which tests have advanced the clock.
    moved: Arc<AtomicI64>,
    /// Microseconds by which the database's time is ahead of this machine's.
    ahead: Arc<AtomicI64>,
    /// The bits of the events that any webhook wants.
    webhooks: Arc<AtomicU32>,
    reminders: Arc<AtomicBool>,
    names: Arc<OnceLock<NameReservation>>,
}

impl Clock {
    /// The current time.
    pub fn now(&self) -> Time {
        Self::machine().plus(self.ahead.load(Relaxed)).plus(self.moved.load(Relaxed))
    }

    #[expect(clippy::disallowed_methods, reason = "time is read only here")]
    fn machine() -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Sets the clock to the time of the database, if that has one of its own; returns the
    /// difference to this machine's clock in microseconds.
    pub(crate) async fn follow(&self, db: &Db) -> Result<i64, db::Error> {
        let before = Self::machine().0;
        let Some(theirs) = db.time().await? else { return Ok(0) };
        let after = Self::machine().0;
        // It was read at some time between the two; a difference within that is no error.
        let ahead = theirs - i64::midpoint(before, after);
        let known = self.ahead.load(Relaxed);
        if (ahead - known).abs() <= (after - before) / 2 + MILLISECOND {
            return Ok(known);
        }
        self.ahead.store(ahead, Relaxed);
        Ok(ahead)
    }

    /// The context of an operation that happens now.
    pub fn cx(&self) -> Cx {
        let wanted = Wanted {
            webhooks: EventKinds::from_bits(self.webhooks.load(Relaxed)),
            reminders: self.reminders.load(Relaxed),
        };
        let names = self.names.get().copied().unwrap_or_default();
        Cx { now: self.now(), random, wanted, names }
    }

    /// Reserves the usernames of accounts that are erased from now on; the first call counts.
    pub(crate) fn reserve_names(&self, names: NameReservation) {
        self.names.get_or_init(|| names);
    }

    pub(crate) fn want_webhooks(&self, kinds: EventKinds) {
        self.webhooks.store(kinds.bits(), Relaxed);
    }

    pub(crate) fn want_reminders(&self, on: bool) {
        self.reminders.store(on, Relaxed);
    }

    /// Advances the clock and all its clones, in tests.
    pub fn advance(&self, microseconds: i64) {
        self.moved.fetch_add(microseconds, Relaxed);
    }
}

/// A time as the API writes it: RFC 3339 in UTC with microseconds. All have the same length, so
/// that sorting them as text sorts them by time.
pub(crate) fn rfc3339(time: Time) -> String {
    let mut text = Vec::with_capacity(27);
    write_rfc3339(time, &mut text);
    String::from_utf8(text).expect("a date is ASCII")
}

/// The same at the end of a buffer.
pub(crate) fn write_rfc3339(time: Time, text: &mut Vec<u8>) {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    let time = Timestamp::from_microsecond(time.0).unwrap_or(Timestamp::MAX);
    PRINTER.print_timestamp(&time, text).expect("a buffer takes all");
}

/// Fills a slice with cryptographically random bytes.
#[expect(clippy::disallowed_methods, reason = "randomness is read only here")]
pub(crate) fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system has a source of randomness");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_digits_and_sort_as_text() {
        let times = [-1, 0, 1_795_780_800_000_000, 1_795_780_800_123_450, 1_795_780_800_200_000];
        let texts = times.map(|time| rfc3339(Time(time)));
        let expected = [
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00.000000Z",
            "2026-11-27T12:00:00.000000Z",
            "2026-11-27T12:00:00.123450Z",
            "2026-11-27T12:00:00.200000Z",
        ];
        assert_eq!(texts, expected);
        assert!(texts.is_sorted());
    }
}
