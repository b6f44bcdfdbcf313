//! The client for browsers and the inbox that is an example of it, in headless Chromium, against
//! the real binary: what a user sees in one tab and in three, while the server dies and comes back.
//!
//! Where Chromium or its driver is not installed nothing is tested, which is an error with the
//! variable `CI`.
#![cfg(target_os = "linux")]

mod app;
mod copies;
mod driver;
mod ends;
mod faults;
mod inbox;
mod origins;
mod others;
mod own_users;
mod parser;
mod random;
mod settled;
mod site;
mod tabs;

#[path = "../process/support.rs"]
#[expect(dead_code, reason = "the tests of one process use the rest of it")]
mod support;

#[test]
fn everything_again_on_postgresql() {
    testing::again_on_postgres("everything_again_on_postgresql");
}
