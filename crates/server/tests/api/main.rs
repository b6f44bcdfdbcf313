//! The server as its clients see it: each test starts a real one, on a real socket, with a
//! database of its own and a clock that is moved by hand; and all of it again over PostgreSQL.

mod classic;
mod client;
mod config;
mod contract;
mod csrf;
mod docs;
mod feed;
mod harness;
mod operations;
mod post;
mod reminders;
mod sessions;
mod strangers;
mod throttling;
mod user;
mod v1;
mod webhooks;

#[path = "../process/receiver.rs"]
#[expect(dead_code, reason = "the tests of one process use the rest of it")]
mod receiver;

#[test]
fn everything_again_on_postgresql() {
    testing::again_on_postgres("everything_again_on_postgresql");
}
