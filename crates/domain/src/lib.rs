//! The product, as plain functions over a transaction.
//!
//! No async, no HTTP, no engine, and no clock or randomness of its own: they come in a [`Cx`].
//!
//! The rooms, from the lowest: [`base`], [`outbox`], [`accounts`], [`mailbox`], [`moving`]. Each
//! uses only those before it; nothing points back (a test holds it).
//!
//! What holds everywhere:
//! - input is parsed into a type once ([`text`]); nothing below checks it again;
//! - the owner comes first in every function and every query; what is not theirs is absent;
//! - every write that touches mailboxes first locks them, in ascending order of owner
//!   ([`modseq::advance`] or `modseq::lock`), and decides after that;
//! - every entry is created, changed and removed through [`entries`], which keeps the counts;
//! - a message's text is stored for exactly as long as a mailbox holds it.

#![warn(missing_docs)]

pub mod accounts;
pub mod base;
pub mod check;
pub mod mailbox;
pub mod moving;
pub mod outbox;
mod schema;

pub use accounts::{
    audit, blocks, browser_tokens, credentials, modseq, passwords, quotas, server_keys, sessions,
    throttle, tokens, users,
};
pub use base::{
    Budget, ConversationId, Cx, Error, Exceeded, Invalid, LARGEST_ID, MessageId, Missing,
    NameReservation, Result, ServerKeyId, Time, UserId, UserRef, Wanted, credential, looks, text,
};
pub use mailbox::{
    changes, conversations, digests, entries, envelopes, history, idempotency, lists, messages,
    purge, retention, search, sending, system_messages, unread, wrong_dates,
};
pub use outbox::{known_time, leases, notices, reminders, webhooks};
pub use schema::SCHEMA;
