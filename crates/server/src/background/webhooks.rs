//! Webhooks: the node's own server is told of events, by one of the nodes.
//!
//! The events and who is to be told of them are rows; what is here only reads them, tells, and
//! writes down what came of it. Whoever does it holds a lease. What was told and not yet written
//! down when a node is killed is told again: at least once.

mod addresses;
mod connect;
mod deliver;
mod payload;
mod sign;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use mail::webhooks::{self, Attempt, Due, Endpoint, EventId, WebhookId};
use mail::{Time, leases};
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

pub(crate) use connect::{Guard, Target};
pub(crate) use deliver::{Courier, Told};
pub(crate) use sign::Secrets;

use crate::config::Settings;
use crate::config::secret::Secret;
use crate::node::Node;

/// How often it is looked for what is due, where anybody is told of anything.
const EVERY: Duration = Duration::from_secs(1);
/// How long the list of webhooks is believed: a command may have changed it.
const BELIEVED: Duration = Duration::from_secs(5);
/// Who of several nodes does it, and how long that one is believed to be there; it says so again
/// every third of that.
const LEASE: &str = "webhooks";
const LEASED: i64 = 30 * Time::SECOND;
const RENEWED: Duration = Duration::from_secs(10);
/// How often another one asks whether that one is gone.
const ASKED: Duration = Duration::from_secs(5);
/// What an endpoint is told at once. It is its own measure: one that hangs delays no other.
const AT_ONCE: usize = 16;
/// Events that are given to endpoints in one transaction.
const STEP: i64 = 500;
/// How long attempts are waited for when the server stops; what is left is told again.
const FAREWELL: Duration = Duration::from_secs(1);

/// What others say to the task below.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Notify,
    changed: AtomicBool,
}

impl Bell {
    /// There is an event to be told of.
    pub(crate) fn event(&self) {
        self.rung.notify_one();
    }

    /// The list of webhooks is another, or may be.
    pub(crate) fn changed(&self) {
        self.changed.store(true, Relaxed);
        self.rung.notify_one();
    }
}

/// Whoever tells an endpoint something, as the settings want it.
pub(crate) fn courier(settings: &Settings, key: &Secret) -> Courier {
    Courier {
        guard: Guard::new(settings.webhook_allow_hosts.clone()),
        secrets: Secrets::new(key, settings.webhook_secret_overlap_hours),
        patience: Duration::from_secs(settings.webhook_timeout_seconds),
    }
}

/// Learns what is wanted, before anybody is served.
///
/// # Errors
/// Where the database cannot be asked.
pub(crate) async fn learn(node: &Node) -> mail::Result<Vec<Endpoint>> {
    let endpoints = node.db.read(webhooks::list).await?;
    node.clock.want_webhooks(webhooks::all_wanted(&endpoints));
    Ok(endpoints)
}

/// Tells endpoints of events until the server stops.
pub(crate) async fn run(node: Arc<Node>, courier: Courier, bell: Arc<Bell>) {
    let mut desk = Desk::new(node, courier, bell);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !desk.node.stopping.is_set() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = desk.bell.rung.notified() => {}
            Some(told) = desk.running.join_next_with_id() => desk.ended(told),
            () = desk.node.stopping.wait() => break,
        }
        while let Some(told) = desk.running.try_join_next_with_id() {
            desk.ended(told);
        }
        // Where the database cannot be asked, it is tried again at the next tick.
        if let Err(error) = desk.turn().await {
            tracing::debug!(%error, "webhooks wait");
        }
    }
    desk.close().await;
}

/// What is being told to whom.
type Flight = (WebhookId, EventId);

/// The state of the one who tells.
struct Desk {
    node: Arc<Node>,
    courier: Courier,
    bell: Arc<Bell>,
    me: [u8; 16],
    endpoints: Vec<Endpoint>,
    learned: Option<Instant>,
    /// Since when this node does it, or since when another does.
    lease: Option<(Instant, bool)>,
    running: JoinSet<(Due, Told)>,
    flights: HashMap<Id, Flight>,
    /// What was told and is not yet written down.
    ended: Vec<Attempt>,
}

impl Desk {
    fn new(node: Arc<Node>, courier: Courier, bell: Arc<Bell>) -> Self {
        // A file has one server: where it was killed, it goes on at once, as what it was.
        let is_file = node.settings.database().is_ok_and(|url| url.path().is_some());
        let me = if is_file { [0; 16] } else { node.clock.cx().random() };
        Self {
            node,
            courier,
            bell,
            me,
            endpoints: Vec::new(),
            learned: None,
            lease: None,
            running: JoinSet::new(),
            flights: HashMap::new(),
            ended: Vec::new(),
        }
    }

    /// Does all that is to do now.
    async fn turn(&mut self) -> mail::Result<()> {
        let changed = self.bell.changed.swap(false, Relaxed);
        if changed || self.learned.is_none_or(|since| since.elapsed() >= BELIEVED) {
            self.endpoints = learn(&self.node).await.inspect_err(|_error| {
                self.bell.changed.fetch_or(changed, Relaxed);
            })?;
            self.endpoints.retain(|endpoint| endpoint.disabled.is_none());
            self.learned = Some(Instant::now());
        }
        self.record().await?;
        if self.endpoints.is_empty() || !self.leads().await? {
            return Ok(());
        }
        self.distribute().await?;
        self.depart().await
    }

    /// Whether this is the node that does it.
    async fn leads(&mut self) -> mail::Result<bool> {
        if let Some((since, leads)) = self.lease
            && since.elapsed() < if leads { RENEWED } else { ASKED }
        {
            return Ok(leads);
        }
        let (cx, me) = (self.node.clock.cx(), self.me);
        let led = self.lease.is_some_and(|(_, leads)| leads);
        // Where it cannot be asked, it is not known who does.
        self.lease = None;
        let leads = self.node.db.write(move |tx| leases::take(tx, &cx, LEASE, &me, LEASED)).await?;
        self.lease = Some((Instant::now(), leads));
        if leads && !led {
            tracing::info!("this node tells the webhooks");
        }
        Ok(leads)
    }

    /// Writes down what came of attempts.
    async fn record(&mut self) -> mail::Result<()> {
        if self.ended.is_empty() {
            return Ok(());
        }
        let (cx, ended) = (self.node.clock.cx(), self.ended.clone());
        self.node.db.write(move |tx| webhooks::record(tx, &cx, &ended)).await?;
        self.ended.clear();
        Ok(())
    }

    /// Gives new events to those who are to be told of them.
    async fn distribute(&mut self) -> mail::Result<()> {
        while self.node.db.read(webhooks::is_waiting).await? {
            let cx = self.node.clock.cx();
            self.node.db.write(move |tx| webhooks::distribute(tx, &cx, STEP)).await?;
        }
        Ok(())
    }

    /// Begins as many attempts as are due, and as each endpoint may have at once.
    async fn depart(&mut self) -> mail::Result<()> {
        for endpoint in self.endpoints.clone() {
            let busy: HashSet<EventId> = self.busy_with(endpoint.id).collect();
            let free = AT_ONCE.saturating_sub(busy.len());
            if free == 0 {
                continue;
            }
            // Those that are under way are due as well, until it is written down what came of them.
            let most = i64::try_from(free + busy.len()).unwrap_or(i64::MAX);
            let (cx, id) = (self.node.clock.cx(), endpoint.id);
            let due = self.node.db.read(move |tx| webhooks::due(tx, &cx, id, most)).await?;
            for due in due.into_iter().filter(|due| !busy.contains(&due.event.id)).take(free) {
                let flight = (endpoint.id, due.event.id);
                let (courier, endpoint) = (self.courier.clone(), endpoint.clone());
                let started = self.running.spawn(async move {
                    let told = courier.tell(&endpoint, &due.event, cx.now).await;
                    (due, told)
                });
                self.flights.insert(started.id(), flight);
            }
        }
        Ok(())
    }

    /// Events that an endpoint is being told of, or was and it is not written down.
    fn busy_with(&self, endpoint: WebhookId) -> impl Iterator<Item = EventId> {
        let ended = self.ended.iter().map(|made| (made.webhook, made.event));
        let all = self.flights.values().copied().chain(ended);
        all.filter(move |(webhook, _)| *webhook == endpoint).map(|(_, event)| event)
    }

    /// An attempt has ended.
    fn ended(&mut self, told: Result<(Id, (Due, Told)), JoinError>) {
        let id = told.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some((webhook, event)) = self.flights.remove(&id) else { return };
        // It panicked, and was told of where it did: it stays due.
        let Ok((_, (due, (outcome, words)))) = told else { return };
        self.node.metrics.webhooks.count(outcome);
        let (endpoint, attempt) = (webhook.get(), due.attempts + 1);
        tracing::debug!(endpoint, event = due.event.name(), attempt, words, "told a webhook");
        if outcome == webhooks::Outcome::Gone {
            tracing::warn!(endpoint, "a webhook answered 410 and is disabled");
            self.endpoints.retain(|endpoint| endpoint.id != webhook);
        }
        self.ended.push(Attempt { webhook, event, attempts: due.attempts, outcome, words });
    }

    /// Waits a little for what is under way, and lets another node do it.
    async fn close(mut self) {
        let waited = timeout(FAREWELL, async {
            while let Some(told) = self.running.join_next_with_id().await {
                self.ended(told);
            }
        });
        // What is left is dropped with this, and told again.
        drop(waited.await);
        drop(self.record().await);
        let me = self.me;
        drop(self.node.db.write(move |tx| leases::release(tx, LEASE, &me)).await);
    }
}
