//! The domain as its callers see it: plain functions over a real database in a file of its own,
//! with a clock that only the test moves, and again with a database of a server for each.

mod app_users;
mod blocks;
mod browser_tokens;
mod budget;
mod changes;
mod check;
mod clocks;
mod conversations;
mod deploy;
mod doors;
mod erase;
mod familiar;
mod guessing;
mod history;
mod idempotency;
mod lists;
mod lookup;
mod messages;
mod migration;
mod model;
mod moved_passwords;
mod moving;
mod plans;
mod profile;
mod quotas;
mod reminders;
mod retention;
mod schemas;
mod scripts;
mod seen;
mod sending;
mod server_keys;
mod sessions;
mod shapes;
mod statements;
mod support;
mod system_messages;
mod system_users;
mod throttle;
mod tokens;
mod unread_many;
mod users;
mod webhooks;
mod withdrawing;

#[test]
fn everything_again_on_postgresql() {
    testing::again_on_postgres("everything_again_on_postgresql");
}
