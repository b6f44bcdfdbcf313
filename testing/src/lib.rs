//! What tests and benchmarks use: an HTTP client with a reader of event streams, throw-away
//! clusters of PostgreSQL, a database for each test, a proxy that breaks connections, an endpoint
//! for webhooks, and a server for e-mail.
//!
//! Nothing here outlives the process that made it, not even where that process is killed. All of it
//! panics where it cannot do what it should: a test has no other use for an error.

mod again;
mod binaries;
mod client;
mod cluster;
mod database;
mod endpoint;
mod engine;
mod events;
mod follower;
mod processes;
mod proxy;
mod response;
mod server;
pub mod smtp;
mod sql;
mod user;
mod watchdog;

pub use again::{again_on_postgres, is_about_sqlite, skip};
pub use binaries::binaries;
pub use client::{Address, Check, Client, Request, TIMEOUT, get};
pub use cluster::Cluster;
pub use database::Database;
pub use endpoint::{Reply, TestEndpoint, WebhookRequest};
pub use engine::{Engine, engine};
pub use events::{Event, EventStream};
pub use follower::{Follower, Goal};
pub use processes::Processes;
pub use proxy::Proxy;
pub use response::{EVENT_STREAM, Failure, Response, SetCookie};
pub use server::{Server, shared};
pub use sql::{Rows, sql, try_sql};
pub use user::{PASSWORD, User};
