//! Which attacks there are, and what they have before they begin.

use clap::ValueEnum;

use super::stage::Letters;
use crate::requests::User;

/// The longest body that the default settings allow, in bytes.
pub(super) const LONGEST: usize = 65_536;
/// Messages of a batch at most.
pub(super) const BATCH: usize = 1000;
/// One code point of three bytes that Unicode makes 18 of.
const LONG_WHEN_FOLDED: &str = "\u{fdfa}";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// Searches of letters that are long when they are folded
    Search,
    /// Searches for a phrase that nearly occurs everywhere
    Phrases,
    /// Long lists, and filters that find nothing
    Lists,
    /// Searches beside batches, so that the log has much to keep
    Log,
    /// Writes with an idempotency key that is always another one
    Keys,
    /// Guesses at the passwords of the ordinary users, from changing addresses
    Guesses,
    /// Registrations of names that are taken, and of new ones
    Registrations,
    /// Right sign-ins of one account
    Logins,
    /// Batches of 1,000 messages
    Batches,
    /// Sends, most of them beyond the quota or to nobody
    Sends,
    /// Look-ups of users
    Lookups,
    /// Bodies that never end, with a login and without
    Bodies,
    /// Connections with half a head
    Heads,
    /// Reads, as fast as they are answered
    Reads,
    /// The largest pages
    Pages,
    /// The same, read slowly
    SlowPages,
    /// Event streams from the beginning, read slowly
    SlowStreams,
    /// Event streams that are opened and closed
    Streams,
    /// The largest documents that need no login
    Documents,
    /// The same, not read, over all connections that an address may have
    SlowDocuments,
    /// JSON of many members, with a login and without
    Members,
    /// A send of the longest body, again and again with one idempotency key
    Replays,
    /// Lists of the account's tokens, as many and with as long names as it can have
    Tokens,
    /// Withdraws messages from everybody, again and again
    Unsends,
    /// A server key that marks whole mailboxes of everybody
    KeyMarks,
    /// A server key that reads the largest pages of everybody
    KeyPages,
    /// A server key that makes 1,000 users at once
    KeyUsers,
    /// A server key that sends the longest body to everybody
    KeyLetters,
}

impl Attack {
    /// Its name, how many connections it has, and what it does.
    fn facts(self) -> (&'static str, usize, &'static str) {
        match self {
            Self::Search => ("search", 8, "searches letters that are long when they are folded"),
            Self::Phrases => ("phrases", 8, "searches for a phrase that nearly occurs everywhere"),
            Self::Lists => ("lists", 16, "long lists, and filters that find nothing"),
            Self::Log => ("log", 8, "searches beside batches of 1,000"),
            Self::Keys => ("keys", 8, "writes with an idempotency key that is always another one"),
            Self::Guesses => ("guesses", 8, "guesses at passwords from changing addresses"),
            Self::Registrations => ("registrations", 80, "registers names, most of them taken"),
            Self::Logins => ("logins", 80, "signs in to one account"),
            Self::Batches => ("batches", 40, "marks 1,000 messages in each request"),
            Self::Sends => ("sends", 40, "sends beyond the quota, and to nobody"),
            Self::Lookups => ("lookups", 40, "looks users up"),
            Self::Bodies => ("bodies", 80, "bodies that never end"),
            Self::Heads => ("heads", 80, "30 connections each, with half a head"),
            Self::Reads => ("reads", 40, "reads pages of its mailbox as fast as it can"),
            Self::Pages => ("pages", 40, "asks for the largest pages"),
            Self::SlowPages => ("slow-pages", 60, "reads the largest pages slowly"),
            Self::SlowStreams => ("slow-streams", 50, "reads event streams slowly"),
            Self::Streams => ("streams", 40, "opens event streams and closes them"),
            Self::Documents => ("documents", 80, "asks for the largest documents"),
            Self::SlowDocuments => ("slow-documents", 80, "reads no document that it asks for"),
            Self::Members => ("members", 60, "sends JSON of many members"),
            Self::Replays => ("replays", 40, "repeats the longest send with its key"),
            Self::Tokens => ("tokens", 40, "lists 100 tokens with long names"),
            Self::Unsends => ("unsends", 40, "withdraws messages from everybody"),
            Self::KeyMarks => ("key-marks", 40, "a server key marks whole mailboxes"),
            Self::KeyPages => ("key-pages", 40, "a server key reads the pages of everybody"),
            Self::KeyUsers => ("key-users", 40, "a server key makes 1,000 users at once"),
            Self::KeyLetters => ("key-letters", 40, "a server key sends long letters to everybody"),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.facts().0
    }

    pub(super) fn conns(self) -> usize {
        self.facts().1
    }

    pub(super) fn about(self) -> &'static str {
        self.facts().2
    }

    /// What its account has written before.
    pub(super) fn letters(self, account: &User, people: &[User]) -> Vec<Letters> {
        let own =
            |count, body: String| Letters { count, to: vec![account.id], body, metadata: None };
        let folded = || own(60, LONG_WHEN_FOLDED.repeat(LONGEST / LONG_WHEN_FOLDED.len()));
        let short = |count| own(count, "a letter to myself".to_owned());
        match self {
            Self::Search => vec![folded()],
            Self::Phrases => vec![own(60, "a ".repeat(LONGEST / 2))],
            Self::Lists => vec![short(3000)],
            Self::Log => vec![folded(), short(BATCH)],
            Self::Keys => vec![short(1)],
            Self::Reads => vec![short(200)],
            Self::Batches => vec![short(BATCH)],
            Self::Pages | Self::SlowPages => vec![Letters {
                count: 100,
                to: people.iter().map(|user| user.id).collect(),
                body: "a letter to everybody ".repeat(100),
                metadata: Some("m".repeat(4000)),
            }],
            Self::Unsends => vec![Letters {
                count: 20,
                to: people.iter().map(|user| user.id).collect(),
                body: "a letter to everybody".to_owned(),
                metadata: None,
            }],
            Self::SlowStreams => vec![own(500, "a ".repeat(2000))],
            _ => vec![],
        }
    }
}
