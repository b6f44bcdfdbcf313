//! Streams of events: which are open on this node, and how often they send.
//!
//! The handler of `GET /v1/events` opens them, and `background` wakes them when a mailbox changes.

mod pacing;
pub(crate) mod streams;
