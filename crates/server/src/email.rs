//! E-mail: the way to the operator's server for it, and what is written to users.
//!
//! It knows neither when something is sent nor who asked for it; `node` and what lies above it may
//! use it.

pub(crate) mod letter;
pub(crate) mod link;
pub(crate) mod mailer;
mod smtp;
pub(crate) mod templates;
