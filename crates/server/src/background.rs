//! What a node does without being asked: recurring jobs, reminders, webhooks, and keeping in step
//! with other nodes.
//!
//! `serve` starts its loops, which end when the node is stopping. Nothing else may use it, but for
//! the command line, which talks to webhooks itself.

pub(crate) mod jobs;
pub(crate) mod nodes;
pub(crate) mod reminders;
pub(crate) mod webhooks;
