//! Streams of events: which are open on this node, who wakes them, and how often they send.
//!
//! The handler of `GET /v1/events` opens them, and `background` wakes them when a mailbox moves.

pub(crate) mod keeper;
mod pace;
pub(crate) mod streams;
