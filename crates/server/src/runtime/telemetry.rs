//! The log: one line for each event, with the id of the request and without secrets.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::log_budget::LogBudget;
use crate::config::{LogFormat, Settings};

/// Starts the log of the process, on standard error.
///
/// # Errors
/// If the filter is invalid or the log was started before.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(settings.log_filter()?)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // A line that cannot be written is lost; reporting that on standard error would panic.
        .log_internal_errors(false)
        .with_target(false);
    let budget = LogBudget::default();
    let started = match settings.log_format {
        LogFormat::Text => builder.finish().with(budget).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().with(budget).try_init(),
    };
    started.map_err(|cause| anyhow::anyhow!("cannot start logging: {cause}"))
}
