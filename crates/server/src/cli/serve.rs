//! `postroom serve`

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::anyhow;

use super::Failure;
use crate::config::Settings;
use crate::runtime::clock::Clock;
use crate::runtime::signal::Stops;
use crate::runtime::{files, telemetry};
use crate::serve::start;

pub(super) fn run(settings: Settings) -> Result<(), Failure> {
    telemetry::start(&settings)?;
    files::allow(settings.max_connections);
    super::wait(serve(settings))?
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let mut stops = Stops::catch()?;
    let data = settings.data_dir.display().to_string();
    let server = start(settings, Clock::default()).await?;
    let address = server.address();
    // Whether anybody reads it or not: a full disk behind it does not stop the server.
    drop(greet(&address, &data));
    tracing::info!(%address, data, "started");

    let failure = tokio::select! {
        () = stops.next() => None,
        error = server.failed() => Some(error),
    };
    if let Some(error) = failure {
        // Nothing can be trusted to be on the disk: end at once, without another write.
        tracing::error!(%error, "the storage cannot be trusted, the server ends");
        return Err(anyhow!("the storage has failed; the log says why").into());
    }
    tracing::info!("stopping");
    if !server.stop(stops.next()).await {
        tracing::warn!("requests in flight were dropped");
        return Err(anyhow!("requests in flight were dropped").into());
    }
    tracing::info!("stopped");
    Ok(())
}

fn greet(address: &SocketAddr, data: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "Postroom {} listens on http://{address}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "Data: {data}")?;
    writeln!(out, "Docs: http://{address}/docs")
}
