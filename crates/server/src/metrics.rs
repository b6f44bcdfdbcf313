//! Figures for the operator: how many, how long, how full.

use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::App;

/// Every path that has a name of its own; all others are counted together under the last.
const ROUTES: [&str; 13] = [
    "/users/token",
    "/users/register",
    "/users/login",
    "/users/logout",
    "/messages/write_message",
    "/messages/messages_per_receiver",
    "/messages/unread_per_receiver",
    "/messages/read_message",
    "/messages/delete_message",
    "/healthz",
    "/readyz",
    "/metrics",
    "other",
];

/// The figures of one route; the metrics themselves are made once, not looked up by request.
pub(crate) struct Route {
    name: &'static str,
    /// By the first digit of the status, from 1xx to 5xx.
    answers: [Counter; 5],
    seconds: Histogram,
}

impl Route {
    /// The path, or `other`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Counts an answer.
    pub(crate) fn record(&self, status: StatusCode, time: Duration) {
        self.answers[usize::from(status.as_u16() / 100 - 1).min(4)].inc();
        self.seconds.observe(time.as_secs_f64());
    }
}

/// How logins ended.
#[derive(Default)]
pub(crate) struct Logins {
    pub accepted: Counter,
    pub refused: Counter,
    pub throttled: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct At {
    route: &'static str,
}

/// All figures.
pub(crate) struct Metrics {
    registry: Registry,
    routes: [Route; ROUTES.len()],
    /// Logins by their result.
    pub logins: Logins,
    /// Open connections.
    pub connections: Gauge,
    queued: Gauge,
    writes: Counter,
    commits: Counter,
    log_bytes: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("postroom");
        let answers = Family::<Answer, Counter>::default();
        // From 50 us to 3.3 s: what is faster than the first or slower than the last is rare.
        let buckets = || Histogram::new(exponential_buckets(50e-6, 2.0, 17));
        let seconds = Family::<At, Histogram, fn() -> Histogram>::new_with_constructor(buckets);
        let logins = Family::<Of, Counter>::default();
        registry.register("http_requests", "Answers by route and class of status", answers.clone());
        registry.register("http_request_seconds", "Time to the answer by route", seconds.clone());
        registry.register("logins", "Logins by result", logins.clone());
        let routes = ROUTES.map(|name| Route {
            name,
            answers: ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .map(|status| answers.get_or_create_owned(&Answer { route: name, status })),
            seconds: seconds.get_or_create_owned(&At { route: name }),
        });
        let login = |result| logins.get_or_create_owned(&Of { result });
        let logins = Logins {
            accepted: login("accepted"),
            refused: login("refused"),
            throttled: login("throttled"),
        };
        let metrics = Self {
            registry: Registry::default(),
            routes,
            logins,
            connections: Gauge::default(),
            queued: Gauge::default(),
            writes: Counter::default(),
            commits: Counter::default(),
            log_bytes: Gauge::default(),
        };
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("db_queued", "Writes that wait for the writer", metrics.queued.clone());
        registry.register("db_writes", "Committed writes", metrics.writes.clone());
        registry.register("db_commits", "Commits that held them", metrics.commits.clone());
        registry.register(
            "db_log_bytes",
            "Length of the database's log",
            metrics.log_bytes.clone(),
        );
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// The figures of a path.
    pub(crate) fn route(&self, path: &str) -> &Route {
        let index = ROUTES.iter().position(|name| *name == path);
        &self.routes[index.unwrap_or(ROUTES.len() - 1)]
    }

    /// All figures as text, with those of the database as they are now.
    pub(crate) fn render(&self, app: &App) -> String {
        let stats = app.db.stats();
        self.queued.set(i64::try_from(stats.queued).unwrap_or(i64::MAX));
        self.writes.inner().store(stats.writes, std::sync::atomic::Ordering::Relaxed);
        self.commits.inner().store(stats.commits, std::sync::atomic::Ordering::Relaxed);
        self.log_bytes.set(stats.log_pages.saturating_mul(4096));
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string succeeds");
        text
    }
}
