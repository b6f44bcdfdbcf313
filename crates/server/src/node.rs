//! What all parts of a running server share, whether they answer requests or work in the
//! background. It knows no HTTP: what only requests need is in `http::app`.

use std::sync::Arc;

use db::Db;
use tokio::sync::Notify;

use crate::config::Settings;
use crate::email::link::Links;
use crate::realtime::streams::Streams;
use crate::runtime::clock::Clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::passwords;
use crate::runtime::sessions::Sessions;
use crate::runtime::signal::Flag;

/// One running server. Several that share a database are the nodes of one service.
pub struct Node {
    pub(crate) settings: Settings,
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) passwords: passwords::Pool,
    pub(crate) metrics: Metrics,
    pub(crate) links: Links,
    /// Set once, when the server begins to stop; every loop and every connection watches it.
    pub(crate) stopping: Flag,
    /// An account was erased: what it held waits to be removed.
    pub(crate) erased: Arc<Notify>,
}
