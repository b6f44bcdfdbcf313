//! Logs: one line an event, with the id of the request and without secrets.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{LogFormat, Settings};

/// What is logged. The libraries below speak from `warn` on, unless they are named.
///
/// # Errors
/// Where the text is neither a level nor directives.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let quiet = if matches!(text, "debug" | "trace") { ",hyper=warn,mio=warn" } else { "" };
    EnvFilter::builder().with_regex(false).parse(format!("{text}{quiet}"))
}

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
