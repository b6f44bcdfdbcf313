//! The process: time, signals, threads, limits, log, metrics and secret key.
//!
//! It uses only `config`; all rooms above may use it.

pub(crate) mod actings;
pub(crate) mod backups;
pub(crate) mod clock;
pub(crate) mod connect;
pub(crate) mod fetch;
pub(crate) mod jwt;
pub(crate) mod key;
mod log_budget;
pub(crate) mod lookups;
pub(crate) mod metrics;
pub(crate) mod open_file_limit;
pub(crate) mod passwords;
pub(crate) mod s3;
pub(crate) mod server_keys;
pub(crate) mod sessions;
pub(crate) mod signal;
pub(crate) mod telemetry;

use domain::Time;

/// How long what was read of a session, a key or a user is used: a command or another node may
/// change it meanwhile. A second less than the 5 that are promised, for what is under way then.
const USED_FOR: i64 = 4 * Time::SECOND;
