//! Webhooks: one of the nodes delivers events to the endpoints.
//!
//! Events and pending deliveries are rows; this reads them, sends them and records the outcomes.
//! What was sent but not recorded when a node is killed is sent again: at least once.

mod deliver;
mod payload;
mod sign;

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use domain::Time;
use domain::unread::many;
use domain::webhooks::{
    self, DeliveryAttempt, Due, Endpoint, EventId, EventKind, Outcome, WebhookId,
};
use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

pub(crate) use deliver::Sender;

use super::runner::{Lease, Task};
use crate::node::Node;

/// How long the list of endpoints is used before it is read again: a command may have changed it.
/// A second less than the 5 that are promised.
const ENDPOINTS_VALID: Duration = Duration::from_secs(4);
/// Concurrent deliveries to one endpoint, so that a slow one delays no other.
const CONCURRENT: usize = 16;
/// Events that are distributed in one transaction.
const STEP: i64 = 500;
/// Users whose unread counts are told in one transaction.
const TOLD: i64 = 100;
/// How long a stopping node waits for deliveries in flight; the others are sent again.
const GRACE: Duration = Duration::from_secs(1);

/// Reads the endpoints, and makes operations write the events that they want.
///
/// # Errors
/// Where the database cannot be read.
pub(crate) async fn read_endpoints(node: &Node) -> domain::Result<Vec<Endpoint>> {
    let endpoints = node.db.read_one(webhooks::list).await?;
    node.clock.want_webhooks(webhooks::all_wanted(&endpoints));
    Ok(endpoints)
}

/// Delivers events to endpoints. Only its task touches this state.
pub(super) struct Dispatcher {
    node: Arc<Node>,
    sender: Sender,
    /// The enabled endpoints.
    endpoints: Vec<Endpoint>,
    /// When `endpoints` was read.
    read_at: Option<Instant>,
    /// The deliveries in flight, each of which ends with its outcome.
    workers: JoinSet<DeliveryAttempt>,
    /// Outcomes that are not recorded yet.
    finished: Vec<DeliveryAttempt>,
    /// Deliveries in `workers` or `finished`: the database still calls them due.
    pending: HashSet<(WebhookId, EventId)>,
}

impl Task for Dispatcher {
    const NAME: &'static str = "webhooks";
    const EVERY: Duration = Duration::from_secs(1);
    const LEASE: Duration = Duration::from_secs(30);

    async fn woken(&mut self) {
        tokio::select! {
            () = self.node.wakeups.webhooks.notified() => {}
            Some(Ok(attempt)) = self.workers.join_next() => self.finish(attempt),
        }
    }

    async fn run(&mut self, lease: &mut Lease) -> domain::Result<()> {
        while let Some(Ok(attempt)) = self.workers.try_join_next() {
            self.finish(attempt);
        }
        let changed = self.node.wakeups.endpoints_changed.swap(false, Relaxed);
        if changed || self.read_at.is_none_or(|at| at.elapsed() >= ENDPOINTS_VALID) {
            self.read_at = None;
            self.endpoints = read_endpoints(&self.node).await?;
            self.endpoints.retain(|endpoint| endpoint.disabled.is_none());
            self.read_at = Some(Instant::now());
        }
        self.record().await?;
        if self.endpoints.is_empty() || !lease.take().await? {
            return Ok(());
        }
        self.tell_unread().await?;
        while self.node.db.read_one(webhooks::has_pending).await? {
            let cx = self.node.clock.cx();
            self.node.db.write(move |tx| webhooks::distribute(tx, &cx, STEP)).await?;
        }
        self.start_workers().await
    }

    async fn stop(&mut self) {
        let all = async {
            while let Some(Ok(attempt)) = self.workers.join_next().await {
                self.finish(attempt);
            }
        };
        drop(timeout(GRACE, all).await);
        drop(self.record().await);
    }
}

impl Dispatcher {
    pub(super) fn new(node: Arc<Node>, sender: Sender) -> Self {
        Self {
            node,
            sender,
            endpoints: Vec::new(),
            read_at: None,
            workers: JoinSet::new(),
            finished: Vec::new(),
            pending: HashSet::new(),
        }
    }

    /// Makes events of the unread counts that have changed, where an endpoint wants to know.
    async fn tell_unread(&self) -> domain::Result<()> {
        let wanted = |endpoint: &Endpoint| endpoint.kinds.has(EventKind::UnreadChanged);
        let cx = self.node.clock.cx();
        while self.endpoints.iter().any(wanted)
            && self.node.db.read_one(move |tx| many::has_changes(tx, &cx)).await?
        {
            self.node.db.write(move |tx| many::tell_changes(tx, &cx, TOLD)).await?;
        }
        Ok(())
    }

    /// Starts the deliveries that are due, as many as each endpoint may have at once.
    async fn start_workers(&mut self) -> domain::Result<()> {
        for endpoint in &self.endpoints {
            let (cx, id) = (self.node.clock.cx(), endpoint.id);
            let mut busy = self.pending.iter().filter(|(webhook, _)| *webhook == id).count();
            if busy >= CONCURRENT {
                continue;
            }
            let limit = i64::try_from(CONCURRENT).expect("it is small");
            for due in self.node.db.read_one(move |tx| webhooks::due(tx, &cx, id, limit)).await? {
                if busy < CONCURRENT && self.pending.insert((id, due.event.id)) {
                    busy += 1;
                    let (sender, endpoint) = (self.sender.clone(), endpoint.clone());
                    self.workers.spawn(attempt(sender, endpoint, due, cx.now));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, attempt: DeliveryAttempt) {
        self.node.metrics.webhooks.count(attempt.outcome);
        if attempt.outcome == Outcome::Gone {
            let endpoint = attempt.webhook.get();
            tracing::warn!(endpoint, "a webhook endpoint answered 410 and is disabled");
            self.endpoints.retain(|endpoint| endpoint.id != attempt.webhook);
        }
        self.finished.push(attempt);
    }

    /// Records finished deliveries.
    async fn record(&mut self) -> domain::Result<()> {
        if self.finished.is_empty() {
            return Ok(());
        }
        let (cx, finished) = (self.node.clock.cx(), self.finished.clone());
        self.node.db.write(move |tx| webhooks::record(tx, &cx, &finished)).await?;
        for attempt in self.finished.drain(..) {
            self.pending.remove(&(attempt.webhook, attempt.event));
        }
        Ok(())
    }
}

/// Attempts a delivery. A panic counts as a failed attempt, or it would be due again at once.
async fn attempt(sender: Sender, endpoint: Endpoint, due: Due, now: Time) -> DeliveryAttempt {
    let Due { event, attempts } = due;
    let sent = AssertUnwindSafe(sender.deliver(&endpoint, &event, now)).catch_unwind();
    let sent = Box::pin(sent).await;
    let (outcome, words) =
        sent.unwrap_or_else(|_panic| (Outcome::Failed(None), "an internal error".to_owned()));
    let (id, name, attempt) = (endpoint.id.get(), event.name(), attempts + 1);
    tracing::debug!(endpoint = id, event = name, attempt, words, "attempted a webhook delivery");
    DeliveryAttempt { webhook: endpoint.id, event: event.id, attempts, outcome, words }
}
