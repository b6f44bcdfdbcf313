//! What users do with messages: send, read, list, search, mark, delete, withdraw, sync.
//!
//! A message is stored once, as an envelope; what a mailbox says of it is an entry. This room may
//! use all the others.

pub(crate) mod admission;
pub mod changes;
pub(crate) mod contacts;
pub(crate) mod conversation_rows;
pub mod conversations;
pub mod digests;
pub mod entries;
pub mod envelopes;
pub mod history;
pub mod idempotency;
pub mod lists;
pub mod messages;
pub(crate) mod place;
pub mod purge;
pub mod retention;
pub mod search;
pub mod sending;
pub mod system_messages;
pub mod unread;
pub mod wrong_dates;
