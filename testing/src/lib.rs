//! What tests and benchmarks run against: throw-away clusters of PostgreSQL, a database of its own
//! for each test, a proxy that breaks connections, and a server for e-mail.
//!
//! Nothing here outlives the process that made it, not even where that process is killed. All of it
//! panics where it cannot do what is asked: a test has no other use for an error.

mod again;
mod binaries;
mod cluster;
mod database;
mod engine;
mod processes;
mod proxy;
mod server;
pub mod smtp;
mod sql;
mod watchdog;

pub use again::{again_on_postgres, is_about_sqlite};
pub use binaries::binaries;
pub use cluster::Cluster;
pub use database::Database;
pub use engine::{Engine, engine};
pub use processes::Processes;
pub use proxy::Proxy;
pub use server::{Server, shared};
pub use sql::{Rows, sql, try_sql};
