//! E-mail: sending it through the operator's mail server, and the texts of reminders.
//!
//! When it is sent is decided in `background`; `node` and the rooms above it may use it.

pub(crate) mod address;
pub(crate) mod link;
pub(crate) mod mailer;
pub(crate) mod message;
mod smtp;
pub(crate) mod template;
pub(crate) mod templates;
