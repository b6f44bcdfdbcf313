//! What the setting `log` means.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// What is logged. The libraries below speak from `warn` on, unless they are named.
///
/// # Errors
/// Where the text is neither a level nor directives.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let quiet = if matches!(text, "debug" | "trace") { ",hyper=warn,mio=warn" } else { "" };
    EnvFilter::builder().with_regex(false).parse(format!("{text}{quiet}"))
}
