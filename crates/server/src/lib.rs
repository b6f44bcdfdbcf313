//! The edge of Postroom: everything between a socket and the domain. It contains no SQL.
//!
//! Its rooms, from the top down. Each imports only from those below it, which the test `rooms`
//! checks:
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
