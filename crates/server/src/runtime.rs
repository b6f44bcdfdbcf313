//! What the process itself is made of: time, signals, threads, limits, logs, figures and its key.
//!
//! It knows the settings and nothing of messages; everything but `config` may use it.

pub(crate) mod clock;
pub(crate) mod files;
pub(crate) mod key;
pub(crate) mod metrics;
pub(crate) mod passwords;
pub(crate) mod sessions;
pub(crate) mod signal;
pub(crate) mod telemetry;
