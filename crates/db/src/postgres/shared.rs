//! What the fibers of one engine share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::{config::Config, pipeline::Pipelines, queue::Queue};
use crate::{Notice, notice::Hub};

/// Connections for scans, as many as SQLite has threads for them.
pub(super) const SCANNERS: usize = 2;

pub(super) struct Shared {
    pub(super) config: Config,
    /// How long a request may take in all; `None` for a command, which has all the time it needs.
    pub(super) patience: Option<Duration>,
    pub(super) hub: Hub,
    /// Writes, and reads that are too long for a pipelined connection.
    pub(super) requests: Arc<Queue>,
    /// Scans, so that they cannot block requests.
    pub(super) scans: Arc<Queue>,
    /// Connections for reads of one statement; none for commands and behind poolers.
    pub(super) pipelines: Option<Arc<Pipelines>>,
    pub(super) writes: AtomicU64,
    /// How often work was run again.
    pub(super) retries: AtomicU64,
    /// Open connections of fibers.
    pub(super) connections: Arc<AtomicUsize>,
    /// Commits that were given up and that the server has not answered yet. Each occupies a
    /// connection; once there are `most_waiting`, no more writes are begun.
    pub(super) waiting: Arc<AtomicUsize>,
    pub(super) most_waiting: usize,
    /// Counts how often all connections were given up at once. A fiber drops its connection when
    /// it finds another number here than at the time of connecting.
    generation: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        config: &Config,
        patience: Option<Duration>,
        remote: UnboundedSender<Notice>,
    ) -> Self {
        let fibers = config.options.connections.max(1);
        let pipelined = patience.is_some() && config.options.named_statements;
        Self {
            config: config.clone(),
            patience,
            hub: Hub::new(remote),
            requests: Arc::new(Queue::new(fibers, (fibers / 4).max(1))),
            scans: Arc::new(Queue::new(SCANNERS, 1)),
            pipelines: pipelined.then(|| Arc::new(Pipelines::new(config))),
            writes: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            connections: Arc::default(),
            waiting: Arc::default(),
            most_waiting: fibers,
            generation: AtomicU64::new(0),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Gives up all connections, because the server goes away, is read-only or does not answer.
    pub(super) fn begin_generation(&self) {
        self.generation.fetch_add(1, Relaxed);
        if let Some(pipelines) = &self.pipelines {
            pipelines.leave();
        }
        self.requests.rouse();
        self.scans.rouse();
    }
}
