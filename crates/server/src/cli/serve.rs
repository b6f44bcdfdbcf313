//! `postroom serve`

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Result, bail};
use serde_json::json;

use crate::config::{LogFormat, Settings};
use crate::runtime::clock::{Clock, rfc3339};
use crate::runtime::signal::StopSignals;
use crate::runtime::{open_file_limit, telemetry};
use crate::serve::start;

pub(super) fn run(settings: Settings) -> Result<()> {
    telemetry::start(&settings)?;
    open_file_limit::raise(settings.max_connections);
    super::wait(serve(settings))?
}

async fn serve(settings: Settings) -> Result<()> {
    let mut stops = StopSignals::catch()?;
    let (data, format) = (settings.data_dir.display().to_string(), settings.log_format);
    let server = start(settings, Clock::default()).await?;
    let (address, metrics) = (server.address(), server.metrics_address());
    let greeting = greeting(format, address, metrics, &data, server.warning());
    // The server runs whether or not anything can be printed.
    drop(std::io::stdout().write_all(greeting.as_bytes()));
    tracing::info!(%address, data, "started");

    tokio::select! {
        () = stops.next() => {}
        error = server.failed() => {
            // What is on the disk is unknown: end at once, without another write.
            tracing::error!(%error, "the storage has failed, the server ends");
            bail!("the storage has failed; the log says why");
        }
    }
    tracing::info!("stopping");
    if !server.stop(stops.next()).await {
        tracing::warn!("requests in flight were dropped");
        bail!("requests in flight were dropped");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Why the server did not start, or how it failed, as a line of JSON like those of the log.
pub(super) fn failure(error: &anyhow::Error) -> String {
    let timestamp = rfc3339(Clock::default().now());
    json!({ "timestamp": timestamp, "level": "ERROR", "message": format!("{error:#}") }).to_string()
}

/// What is printed at the start: for people, or as one line of JSON like those of the log.
fn greeting(
    format: LogFormat,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    data: &str,
    warning: Option<&str>,
) -> String {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let docs = format!("http://{address}/docs");
    let metrics = metrics.map(|metrics| format!("http://{metrics}/metrics"));
    if format == LogFormat::Json {
        let line = json!({
            "timestamp": rfc3339(Clock::default().now()), "level": "INFO", "message": "listening",
            "version": VERSION, "address": address, "data": data, "docs": docs, "metrics": metrics,
            "warning": warning,
        });
        return format!("{line}\n");
    }
    let warning = warning.map(|warning| format!("Warning: {warning}.\n")).unwrap_or_default();
    let metrics = metrics.unwrap_or_else(|| "none".to_owned());
    format!(
        "Postroom {VERSION} listens on http://{address}\nData: {data}\nMetrics: {metrics}\nDocs: \
         {docs}\n{warning}"
    )
}
