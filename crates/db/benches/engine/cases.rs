//! The cases: their statements, and the random numbers that pick their rows.

use db::Migration;

/// Owners of rows; many, so that sends seldom wait for each other's counters.
pub(crate) const OWNERS: i64 = 10_000;
/// Texts that exist before the measurement.
pub(crate) const TEXTS: i64 = 100_000;
/// Rows on a page.
pub(crate) const PAGE: i64 = 50;
/// Owners up to this one have a page of rows and receive no sends.
pub(crate) const READERS: i64 = 1_000;

pub(crate) const SUBJECT: &str = "Notes of the meeting";
pub(crate) const BODY: &str = "Thank you all for coming on Monday. We agreed to move the archive \
    to the new building before winter, and Ruth will ask three firms what they want for it. \
    Please send her all your lists by Friday noon.";

/// The tables of the benchmark, made through the engine like any schema.
pub(crate) const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "bench",
    oldest: 1,
    sql: "CREATE TABLE bench_counters (
              owner_id INTEGER NOT NULL PRIMARY KEY, counter INTEGER NOT NULL
          ) STRICT;
          CREATE TABLE bench_texts (
              id INTEGER PRIMARY KEY AUTOINCREMENT, sender_id INTEGER NOT NULL,
              receiver_id INTEGER NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL,
              sent_at INTEGER NOT NULL
          ) STRICT;
          CREATE TABLE bench_rows (
              owner_id INTEGER NOT NULL, text_id INTEGER NOT NULL, role INTEGER NOT NULL,
              peer_id INTEGER, seq INTEGER NOT NULL, PRIMARY KEY (owner_id, text_id)
          ) STRICT, WITHOUT ROWID;",
}];

/// Fills the tables. Each reader has a page of rows with the newest texts.
pub(crate) fn filling() -> String {
    format!(
        "INSERT INTO bench_counters SELECT g, 0 FROM generate_series(1, {OWNERS}) g;
         INSERT INTO bench_texts (sender_id, receiver_id, subject, body, sent_at)
             SELECT g * 7 % {OWNERS} + 1, g % {READERS} + 1, '{SUBJECT}', '{BODY}', g
             FROM generate_series(1, {TEXTS}) g;
         INSERT INTO bench_rows SELECT g % {READERS} + 1, g, 1, g * 7 % {OWNERS} + 1, g
             FROM generate_series({TEXTS} - {PAGE} * {READERS} + 1, {TEXTS}) g;
         VACUUM ANALYZE bench_counters;
         VACUUM ANALYZE bench_texts;
         VACUUM ANALYZE bench_rows;
         CHECKPOINT"
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// A row by its key: one statement.
    Point,
    /// A range of keys and their rows: two statements on one snapshot.
    Page,
    /// Two counters, a text, two rows: five statements in a transaction.
    Send,
}

impl Case {
    pub(crate) const ALL: [Self; 3] = [Self::Point, Self::Page, Self::Send];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Page => "page",
            Self::Send => "send",
        }
    }
}

/// Pseudo-random numbers, the same in each run (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(caller: usize, round: usize) -> Self {
        Self(caller as u64 * 1_000_003 + round as u64)
    }

    /// From 1 to `most`.
    pub(crate) fn up_to(&mut self, most: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        1 + i64::try_from(mixed >> 1).unwrap_or(0) % most
    }

    /// Two different owners who read no pages, in ascending order.
    pub(crate) fn two(&mut self) -> (i64, i64) {
        let most = OWNERS - READERS;
        let one = self.up_to(most);
        let other = (one + self.up_to(most - 1) - 1) % most + 1;
        (READERS + one.min(other), READERS + one.max(other))
    }
}
