//! What a node does on its own: recurring jobs, reminders, webhooks, and keeping in step with other
//! nodes.
//!
//! `serve` starts its tasks, which end when the node stops. Nothing else may use it, but for the
//! command line, which sends to webhooks itself.

mod audit;
mod backups;
mod database_size;
mod expirations;
mod jobs;
mod jwt_keys;
pub(crate) mod nodes;
pub(crate) mod reminders;
mod retention;
mod runner;
mod streams;
pub(crate) mod webhooks;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::node::Node;
use reminders::Reminders;
use webhooks::{Dispatcher, Sender};

/// Starts all background tasks.
pub(crate) fn start(
    tasks: &mut JoinSet<()>,
    node: &Arc<Node>,
    reminders: Option<Reminders>,
    sender: Sender,
) {
    let shared = || Arc::clone(node);
    tasks.spawn(runner::run(shared(), jobs::Jobs::new(shared())));
    tasks.spawn(runner::run(shared(), expirations::Expirations(shared())));
    tasks.spawn(runner::run(shared(), audit::WriteAudit(shared())));
    tasks.spawn(runner::run(shared(), database_size::MeasureDatabase(shared())));
    tasks.spawn(runner::run(shared(), nodes::FollowClock { node: shared(), warned: false }));
    let ran = Instant::now();
    tasks.spawn(runner::run(shared(), streams::ReconcileStreams { node: shared(), ran }));
    tasks.spawn(runner::run(shared(), Dispatcher::new(shared(), sender)));
    if node.settings.backup_every.is_some() {
        tasks.spawn(runner::run(shared(), backups::MakeBackups::new(shared())));
    }
    if node.settings.retention_days > 0 {
        tasks.spawn(runner::run(shared(), retention::Retention(shared())));
    }
    if !node.jwts.issuers().is_empty() {
        tasks.spawn(runner::run(shared(), jwt_keys::FetchJwtKeys(shared())));
    }
    if let Some(reminders) = reminders {
        tasks.spawn(runner::run(shared(), reminders));
    }
}
