//! The product, as plain functions over a transaction.
//!
//! No async, no HTTP, no engine, and no clock or chance of its own: they come in a [`Cx`].
//!
//! What holds here:
//! - input becomes a type once ([`text`]); nothing below checks it again;
//! - the owner comes first in every function and every query; what is not yours is absent;
//! - every write that touches mailboxes first advances their counters, in ascending order of
//!   owner ([`mailbox::advance`]), and decides after it;
//! - every entry comes, changes and goes through [`entries`], which keeps the counts;
//! - a text is there exactly as long as a mailbox holds it.

#![warn(missing_docs)]

pub mod answers;
pub mod blocks;
pub mod changes;
pub mod check;
mod context;
pub mod conversations;
pub mod entries;
pub mod envelopes;
mod error;
mod id;
pub mod key;
pub mod leases;
pub mod mailbox;
pub mod messages;
pub mod pages;
pub mod passwords;
pub mod quotas;
pub mod reminders;
mod schema;
pub mod search;
pub mod sending;
pub mod sessions;
pub mod text;
mod threads;
pub mod throttle;
pub mod tokens;
pub mod topics;
pub mod users;
pub mod webhooks;

pub use context::{Cx, Time, Wanted};
pub use error::{Error, Invalid, Over, Result};
pub use id::{ConversationId, LARGEST_ID, MessageId, UserId};
pub use schema::SCHEMA;
