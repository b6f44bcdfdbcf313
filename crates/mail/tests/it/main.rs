//! The domain as its callers see it: plain functions over a real database in a file of its own,
//! with a clock that only the test moves.

mod answers;
mod blocks;
mod check;
mod conversations;
mod erase;
mod messages;
mod migration;
mod model;
mod pages;
mod plans;
mod profile;
mod quotas;
mod sending;
mod sessions;
mod statements;
mod support;
mod throttle;
mod tokens;
mod users;
