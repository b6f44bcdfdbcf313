//! The server as its clients see it: each test starts a real one, on a real socket, with a
//! database of its own and a clock that is moved by hand; and all of it again over PostgreSQL.

mod checks;
mod classic;
mod config;
mod contract;
mod csrf;
mod docs;
mod email;
mod erasure;
mod forwarded;
mod harness;
mod hosts;
mod issuer;
mod mail_server;
mod monitoring;
mod moved_passwords;
mod operations;
mod refusals;
mod reminders;
mod sessions;
mod sign_in;
mod strangers;
mod throttling;
mod user;
mod v1;
mod webhooks;

#[path = "../../../domain/tests/it/plans/judge.rs"]
mod plans;

#[test]
fn everything_again_on_postgresql() {
    testing::again_on_postgres("everything_again_on_postgresql");
}
