//! The product, as plain functions over a transaction.
//!
//! No async, no HTTP, no engine, and no clock or chance of its own: they come in a [`Cx`].
//!
//! What holds here:
//! - input becomes a type once ([`text`]); nothing below checks it again;
//! - the owner comes first in every function and every query; what is not yours is absent;
//! - every write that touches mailboxes first advances their counters, in ascending order of
//!   owner ([`mailbox::advance`]), and decides after it;
//! - a text is there exactly as long as a mailbox holds it.

#![warn(missing_docs)]

pub mod check;
mod context;
mod error;
mod id;
pub mod mailbox;
pub mod messages;
pub mod passwords;
mod schema;
pub mod sessions;
pub mod text;
pub mod throttle;
pub mod users;

pub use context::{Cx, Time};
pub use error::{Error, Invalid, Result};
pub use id::{MessageId, UserId};
pub use schema::SCHEMA;
