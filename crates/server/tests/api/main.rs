//! The server as its clients see it: each test starts a real one, on a real socket, with a
//! database of its own and a clock that is moved by hand.

mod classic;
mod client;
mod config;
mod contract;
mod csrf;
mod docs;
mod harness;
mod operations;
mod sessions;
mod strangers;
mod throttling;
mod user;
mod v1;
