//! What follows from an operation: rows of its transaction, worked off later by one node.
//!
//! It is given ids, so it needs nothing of accounts or mailboxes; it uses `base` alone.

pub mod known_time;
pub mod leases;
pub mod notices;
pub mod reminders;
pub(crate) mod unread_changes;
pub mod webhooks;
