//! Several nodes over one PostgreSQL, and the faults that they must survive: the real binary, real
//! servers with `fsync`, and clients that do what the documents tell them to do.
//!
//! Where PostgreSQL is not installed nothing is tested, which is an error with the variable `CI`.
#![cfg(target_os = "linux")]

mod app_users;
mod clocks;
mod disturbed;
mod failover;
mod holes;
mod keys;
mod kills;
mod letters;
mod nodes;
mod one;
mod passes;
mod post;
mod restarts;
mod restored;
mod retention;
mod streams;
mod webhooks;

#[path = "../process/support.rs"]
#[expect(dead_code, reason = "the tests of one process use the rest of it")]
mod support;
