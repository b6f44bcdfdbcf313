//! `postroom serve`

use std::io::Write as _;

use anyhow::{Result, bail};

use crate::config::Settings;
use crate::runtime::clock::Clock;
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
    let data = settings.data_dir.display().to_string();
    let server = start(settings, Clock::default()).await?;
    let address = server.address();
    let greeting = format!(
        "Postroom {} listens on http://{address}\nData: {data}\nDocs: http://{address}/docs\n",
        env!("CARGO_PKG_VERSION"),
    );
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
