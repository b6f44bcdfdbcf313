//! Figures of the routes. Each worker counts for itself, and a scrape adds them up: were they
//! counted in one place, the processors would wait for each other at every answer.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Every path that has a name of its own, besides those of /v1, which follow from its operations.
const ROUTES: [&str; 22] = [
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
    "/openapi.json",
    "/docs",
    "/docs/errors",
    "/docs/inbox",
    "/docs/inbox.css",
    "/docs/inbox.js",
    "/docs/postroom.js",
    "/docs/style.css",
    "/docs/script.js",
    "/unsubscribe",
];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The first bound in microseconds; each next one is twice as long, up to 3.3 s, and then all.
const FIRST: u64 = 50;
const BOUNDS: usize = 17;

/// The figures of one route in one worker.
#[derive(Debug, Default)]
pub(crate) struct Route {
    name: &'static str,
    /// By the first digit of the status.
    answers: [AtomicU64; CLASSES.len()],
    /// By the first bound that the time does not exceed; the last is without one.
    times: [AtomicU64; BOUNDS + 1],
    microseconds: AtomicU64,
}

impl Route {
    /// The path, or `other`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Counts an answer.
    pub(crate) fn record(&self, status: StatusCode, time: Duration) {
        let class = usize::from(status.as_u16() / 100 - 1).min(CLASSES.len() - 1);
        self.answers[class].fetch_add(1, Relaxed);
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(time, Relaxed);
        let doublings = u64::BITS - (time.saturating_sub(1) / FIRST).leading_zeros();
        self.times[(doublings as usize).min(BOUNDS)].fetch_add(1, Relaxed);
    }
}

/// The figures of all routes in one worker; the last are those of all other paths.
#[derive(Debug)]
pub(crate) struct Routes(Vec<Route>);

impl Routes {
    /// The figures of a path.
    pub(crate) fn of(&self, path: &str) -> &Route {
        let exact = self.0.iter().position(|route| route.name == path);
        // Only paths of /v1 hold ids.
        let fitting = || self.0.iter().position(|route| fits(route.name, path));
        let index = exact.or_else(|| path.starts_with("/v1/").then(fitting).flatten());
        &self.0[index.unwrap_or(self.0.len() - 1)]
    }
}

/// Whether a path is one of a template, as `/v1/users/{id}`.
fn fits(template: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let fits = template.split('/').all(|expected| {
        let part = parts.next();
        part == Some(expected) || expected.starts_with('{') && part.is_some_and(|p| !p.is_empty())
    });
    fits && parts.next().is_none()
}

/// The figures of all workers.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    names: Vec<&'static str>,
    all: Arc<Mutex<Vec<Arc<Routes>>>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answers {
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Times {
    route: &'static str,
}

impl Workers {
    /// With the paths of /v1 besides those above.
    pub(super) fn new(v1: Vec<&'static str>) -> Self {
        let names = ROUTES.into_iter().chain(v1).chain(["other"]);
        Self { names: names.collect(), all: Arc::default() }
    }

    /// The figures of one more worker.
    pub(super) fn add(&self) -> Arc<Routes> {
        let routes = self.names.iter().map(|name| Route { name, ..Route::default() });
        let routes = Arc::new(Routes(routes.collect()));
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&routes));
        routes
    }

    fn sum(&self, one: impl Fn(&Routes) -> &AtomicU64) -> u64 {
        let workers = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().map(|routes| one(routes).load(Relaxed)).sum()
    }
}

impl Collector for Workers {
    #[expect(clippy::cast_precision_loss, reason = "seconds of a metric are floating point")]
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Answers by route and class of status";
        let mut answers =
            encoder.encode_descriptor("http_requests", help, None, MetricType::Counter)?;
        for (index, route) in self.names.iter().copied().enumerate() {
            for (class, status) in CLASSES.into_iter().enumerate() {
                let count = self.sum(|routes| &routes.0[index].answers[class]);
                let labels = Answers { route, status };
                let mut family = answers.encode_family(&labels)?;
                family.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "Time to the answer by route";
        let mut times =
            encoder.encode_descriptor("http_request_seconds", help, None, MetricType::Histogram)?;
        for (index, route) in self.names.iter().copied().enumerate() {
            let counts = (0..=BOUNDS).map(|at| self.sum(|routes| &routes.0[index].times[at]));
            let bounds = (0..BOUNDS).map(|at| (FIRST << at) as f64 / 1e6).chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(counts).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let seconds = self.sum(|routes| &routes.0[index].microseconds) as f64 / 1e6;
            let labels = Times { route };
            let mut family = times.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_an_id_is_counted_under_its_template() {
        let routes = Workers::new(vec!["/v1/users", "/v1/users/me", "/v1/users/{id}"]).add();
        for (path, name) in [
            ("/users/token", "/users/token"),
            ("/v1/users", "/v1/users"),
            ("/v1/users/me", "/v1/users/me"),
            ("/v1/users/7", "/v1/users/{id}"),
            ("/v1/users/you", "/v1/users/{id}"),
            ("/v1/users/", "other"),
            ("/v1/users/7/8", "other"),
            ("/v1", "other"),
            ("/users/7", "other"),
            ("other", "other"),
        ] {
            assert_eq!(routes.of(path).name(), name, "{path}");
        }
    }

    #[test]
    fn a_time_is_counted_under_the_first_bound_that_it_does_not_exceed() {
        let bucket = |microseconds| {
            let route = Route::default();
            route.record(StatusCode::OK, Duration::from_micros(microseconds));
            route.times.iter().position(|count| count.load(Relaxed) == 1)
        };
        let bounds = [0, 50, 51, 100, 101, 200, 201, 3_276_800, 3_276_801, 90_000_000];
        let found = bounds.map(|time| bucket(time).unwrap());
        assert_eq!(found, [0, 0, 1, 1, 2, 2, 3, 16, 17, 17]);
    }
}
