//! Logs: one line an event, with the id of the request and without secrets.

use crate::config::log::filter;
use crate::config::{LogFormat, Settings};

/// Starts logging to standard error, for the whole process.
///
/// # Errors
/// Where the filter is wrong or logging has been started before.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&settings.log)?)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // A line that cannot be written is lost; to complain of it would be a panic.
        .log_internal_errors(false)
        .with_target(false);
    let started = match settings.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|cause| anyhow::anyhow!("cannot start logging: {cause}"))
}
