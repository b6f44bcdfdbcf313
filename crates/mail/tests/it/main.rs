//! The domain as its callers see it: plain functions over a real database in a file of its own,
//! with a clock that only the test moves.

mod check;
mod messages;
mod model;
mod plans;
mod sessions;
mod support;
mod throttle;
mod users;
