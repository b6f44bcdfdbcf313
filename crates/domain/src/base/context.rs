//! Time and randomness, handed in; and what is to follow from an operation.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::base::event::EventKinds;

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
    /// 2025-01-01: before the first database. Origins of histories count from it.
    pub(crate) const FIRST: Self = Self(1_735_689_600 * Self::SECOND);

    /// How far the order in which requests reach the database may differ from the order of their
    /// times. A request gets its time before it waits for the database, at most twice for 5
    /// seconds, and clocks of nodes differ.
    pub(crate) const SLACK: i64 = 15 * Self::SECOND;

    /// Whether this moment has passed, with some slack. A moment further in the future was written
    /// by a wrong clock.
    pub(crate) fn has_come(self, now: Self) -> bool {
        self <= now.plus(Self::SLACK)
    }

    /// Whether so many microseconds that began at this moment are not over. If they began in the
    /// future, a wrong clock wrote that, and they count as over.
    pub fn runs(self, length: i64, now: Self) -> bool {
        self.has_come(now) && now < self.plus(length)
    }

    /// The moment that many microseconds later, or earlier where the number is negative.
    #[must_use]
    pub fn plus(self, microseconds: i64) -> Self {
        Self(self.0.saturating_add(microseconds))
    }

    /// Whole seconds until a later moment, rounded up.
    pub fn seconds_until(self, later: Self) -> i64 {
        (later.0.saturating_sub(self.0)).saturating_add(Self::SECOND - 1) / Self::SECOND
    }
}

/// What an operation knows of the world around it.
#[derive(Debug, Clone, Copy)]
pub struct Cx {
    /// The present.
    pub now: Time,
    /// Fills a slice with cryptographically random bytes.
    pub random: fn(&mut [u8]),
    /// Which follow-up work is wanted.
    pub wanted: Wanted,
    /// How the usernames of erased accounts are reserved.
    pub names: NameReservation,
}

/// How the usernames of erased accounts are reserved: for how long, and the key under which they
/// and external ids are hashed. By default, names are not reserved at all.
#[derive(Clone, Copy, Default)]
pub struct NameReservation {
    key: [u8; 32],
    /// Microseconds for which a name is reserved; 0 is not at all.
    pub(crate) kept: i64,
}

impl NameReservation {
    /// For so many microseconds, under a key that nobody else has.
    pub fn new(key: [u8; 32], kept: i64) -> Self {
        Self { key, kept }
    }

    /// What is stored of the external id of an erased user, whatever is kept of their name.
    pub(crate) fn hash_external(&self, external_id: &str) -> [u8; 32] {
        // No name holds a colon.
        self.hash(&format!("ext:{external_id}"))
    }

    /// What is stored of a folded name: without the key, not even guesses can be compared with it.
    pub(crate) fn hash(&self, folded: &str) -> [u8; 32] {
        self.hash_bytes(b"", folded.as_bytes())
    }

    /// What is stored of the network that a user has signed in from, whatever is kept of names.
    pub(crate) fn hash_network(&self, network: &[u8]) -> [u8; 32] {
        self.hash_bytes(b"network:", network)
    }

    fn hash_bytes(&self, kind: &[u8], bytes: &[u8]) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(&self.key);
        let mac = mac.expect("HMAC takes a key of any length");
        mac.chain_update(kind).chain_update(bytes).finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for NameReservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NameReservation").field("kept", &self.kept).finish_non_exhaustive()
    }
}

/// Which follow-up work is wanted: it is recorded in the operation's transaction, and nothing is
/// read or written for what nobody wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The events that some webhook endpoint subscribes to.
    pub webhooks: EventKinds,
    /// Whether users are reminded of unread messages.
    pub reminders: bool,
}

impl Cx {
    /// Cryptographically random bytes.
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
