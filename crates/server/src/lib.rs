//! The edge of Postroom: everything between a socket and the domain. No SQL here.
//!
//! Its rooms, from the top down; each imports only what lies below it, and the test `rooms` holds
//! that:
//! [`cli`] > `serve` > [`http`] > `background` > `node` > `realtime` > `email` > `runtime` >
//! [`config`].

#![warn(missing_docs)]

mod background;
pub mod cli;
pub mod config;
mod email;
pub mod http;
mod node;
mod realtime;
mod runtime;
mod serve;

pub use config::Config;
pub use runtime::clock::Clock;
pub use serve::{Server, start};
