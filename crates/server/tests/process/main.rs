//! The real binary, as an operator and the internet meet it: killed, starved, misused, stopped,
//! saved and restored. Each test starts its own, in a folder of its own, with nothing of the
//! environment outside; and again over a database of PostgreSQL for each, but for what is about the
//! file of SQLite.
#![cfg(target_os = "linux")]

mod app_users;
mod backup;
mod backups;
mod cli;
mod clocks;
mod config;
mod crash;
mod django;
mod faults;
mod full;
mod fuzz;
mod history;
mod hostile;
mod import_format;
mod importing;
mod keys;
mod limits;
mod log;
mod manual;
mod moving;
mod post;
mod progress;
mod raw;
mod refused;
mod retention;
mod retries;
mod said;
mod secrets;
mod shares;
mod shutdown;
mod storage;
mod streams;
mod support;
mod system_messages;
mod traffic;
mod webhooks;

#[test]
fn everything_again_on_postgresql() {
    testing::again_on_postgres("everything_again_on_postgresql");
}
