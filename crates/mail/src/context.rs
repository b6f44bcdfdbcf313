//! Time and chance, handed in; and who waits for what.

use crate::webhooks::Kinds;

/// A moment, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// Microseconds in a second.
    pub const SECOND: i64 = 1_000_000;
    /// Microseconds in a minute.
    pub const MINUTE: i64 = 60 * Self::SECOND;
    /// Microseconds in an hour.
    pub const HOUR: i64 = 60 * Self::MINUTE;
    /// Microseconds in a day.
    pub const DAY: i64 = 24 * Self::HOUR;

    /// By how much the order in which requests reach the database may differ from that of their
    /// times: each has its time before it waits for its turn, twice for 5 seconds at most, and its
    /// node's clock need not be that of another.
    const SLACK: i64 = 15 * Self::SECOND;

    /// Whether this moment has come, as far as can be told. One that is further away was written
    /// down by a clock that was wrong.
    pub(crate) fn has_come(self, now: Self) -> bool {
        self <= now.plus(Self::SLACK)
    }

    /// The moment so many microseconds later, or earlier where it is negative.
    #[must_use]
    pub fn plus(self, microseconds: i64) -> Self {
        Self(self.0.saturating_add(microseconds))
    }

    /// Whole seconds until a later moment, so many that it has come after them.
    pub(crate) fn seconds_until(self, later: Self) -> i64 {
        (later.0.saturating_sub(self.0)).saturating_add(Self::SECOND - 1) / Self::SECOND
    }
}

/// What an operation knows of the world around it.
#[derive(Debug, Clone, Copy)]
pub struct Cx {
    /// The present.
    pub now: Time,
    /// Fills a slice with bytes that nobody can guess.
    pub random: fn(&mut [u8]),
    /// What somebody wants to follow from what is done.
    pub wanted: Wanted,
}

/// What follows from what users do, as far as anybody wants it: it is written down by the same
/// transaction, and where nobody wants it, nothing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Events that a webhook is told of.
    pub webhooks: Kinds,
    /// Who is away is to be reminded of what stays unread.
    pub reminders: bool,
}

impl Cx {
    /// Bytes that nobody can guess.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.random)(&mut bytes);
        bytes
    }
}

impl From<Time> for db::Value<'_> {
    fn from(time: Time) -> Self {
        db::Value::Int(time.0)
    }
}
