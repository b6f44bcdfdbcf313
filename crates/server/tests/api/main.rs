//! The server as its clients see it: each test starts a real one, on a real socket, with a
//! database of its own and a clock that is moved by hand; and all of it again over PostgreSQL.

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

#[test]
fn everything_again_on_postgresql() {
    testing::again_on_postgres("everything_again_on_postgresql");
}
