//! Figures for the operator: how many, how long, how full.

mod routes;

use std::sync::Arc;

use mail::webhooks::Outcome;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

pub(crate) use routes::Routes;
use routes::Workers;

/// How logins ended.
#[derive(Default)]
pub(crate) struct Logins {
    pub accepted: Counter,
    pub refused: Counter,
    pub throttled: Counter,
}

/// How attempts to tell a webhook of an event ended.
#[derive(Default)]
pub(crate) struct Webhooks {
    delivered: Counter,
    failed: Counter,
}

impl Webhooks {
    pub(crate) fn count(&self, outcome: Outcome) {
        if outcome == Outcome::Delivered { &self.delivered } else { &self.failed }.inc();
    }
}

/// What became of mails that were sent.
#[derive(Default)]
pub(crate) struct Mails {
    pub sent: Counter,
    pub put_off: Counter,
    pub refused: Counter,
    pub in_doubt: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    result: &'static str,
}

/// All figures.
pub(crate) struct Metrics {
    registry: Registry,
    workers: Workers,
    /// Logins by their result.
    pub logins: Logins,
    /// Attempts to tell webhooks by their result.
    pub webhooks: Webhooks,
    /// Mails by what became of them.
    pub mails: Mails,
    /// Open connections.
    pub connections: Gauge,
    /// Events that streams have sent.
    pub stream_events: Counter,
    streams: Gauge,
    queued: Gauge,
    writes: Counter,
    commits: Counter,
    log_bytes: Gauge,
    db_connections: Gauge,
    db_waiting: Gauge,
    db_retries: Counter,
    db_left: Counter,
}

impl Metrics {
    /// Figures of the routes, of which /v1 has these.
    pub(crate) fn new(v1: Vec<&'static str>) -> Self {
        let mut registry = Registry::with_prefix("postroom");
        let logins = Family::<Of, Counter>::default();
        let workers = Workers::new(v1);
        registry.register_collector(Box::new(workers.clone()));
        registry.register("logins", "Logins by result", logins.clone());
        let login = |result| logins.get_or_create_owned(&Of { result });
        let logins = Logins {
            accepted: login("accepted"),
            refused: login("refused"),
            throttled: login("throttled"),
        };
        let told = Family::<Of, Counter>::default();
        registry.register("webhook_attempts", "Attempts to tell webhooks by result", told.clone());
        let told = |result| told.get_or_create_owned(&Of { result });
        let webhooks = Webhooks { delivered: told("delivered"), failed: told("failed") };
        let mails = Family::<Of, Counter>::default();
        registry.register("mails", "E-mails by result", mails.clone());
        let mail = |result| mails.get_or_create_owned(&Of { result });
        let mails = Mails {
            sent: mail("sent"),
            put_off: mail("put_off"),
            refused: mail("refused"),
            in_doubt: mail("in_doubt"),
        };
        let all = &mut registry;
        let metrics = Self {
            registry: Registry::default(),
            workers,
            logins,
            webhooks,
            mails,
            connections: registered(all, "connections", "Open connections"),
            stream_events: registered(all, "stream_events", "Events that streams have sent"),
            streams: registered(all, "streams", "Open streams of events"),
            queued: registered(all, "db_queued", "Work that waits for the database"),
            writes: registered(all, "db_writes", "Committed writes"),
            commits: registered(all, "db_commits", "Commits that held them"),
            log_bytes: registered(all, "db_log_bytes", "Length of the database's log"),
            db_connections: registered(
                all,
                "db_connections",
                "Connections to the database's server",
            ),
            db_waiting: registered(
                all,
                "db_waiting_commits",
                "Commits that wait for a standby after their request was refused",
            ),
            db_retries: registered(
                all,
                "db_retries",
                "Work begun again after others were in its way or a connection was lost",
            ),
            db_left: registered(
                all,
                "db_servers_left",
                "Times that all connections were given up at once",
            ),
        };
        Self { registry, ..metrics }
    }
}

/// A figure that is shown under a name.
fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// Where one more worker counts its answers.
    pub(crate) fn worker(&self) -> Arc<Routes> {
        self.workers.add()
    }

    /// All figures as text, with those of the database and the open streams as they are now.
    pub(crate) fn render(&self, stats: &db::Stats, streams: usize) -> String {
        self.streams.set(i64::try_from(streams).unwrap_or(i64::MAX));
        self.queued.set(i64::try_from(stats.queued).unwrap_or(i64::MAX));
        self.writes.inner().store(stats.writes, std::sync::atomic::Ordering::Relaxed);
        self.commits.inner().store(stats.commits, std::sync::atomic::Ordering::Relaxed);
        self.log_bytes.set(stats.log_pages.saturating_mul(4096));
        self.db_connections.set(i64::try_from(stats.connections).unwrap_or(i64::MAX));
        self.db_waiting.set(i64::try_from(stats.waiting).unwrap_or(i64::MAX));
        self.db_retries.inner().store(stats.retries, std::sync::atomic::Ordering::Relaxed);
        self.db_left.inner().store(stats.left, std::sync::atomic::Ordering::Relaxed);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string succeeds");
        text
    }
}
