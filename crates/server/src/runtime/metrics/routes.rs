//! Metrics of the routes. Each worker thread counts for itself and a scrape adds the counts up:
//! with shared counters the processors would wait for each other at every response.
//!
//! Paths are matched here, by the matcher of axum's router, because its `MatchedPath` is known only
//! inside the router and is lost when a handler panics.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use matchit::Router;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The first bound of the histogram in microseconds. The others double it, up to 3.3 s.
const FIRST: u64 = 50;
const BOUNDS: usize = 17;

/// The counts of one route in one worker.
#[derive(Debug, Default)]
pub(crate) struct Route {
    name: &'static str,
    /// By the first digit of the status.
    responses: [AtomicU64; CLASSES.len()],
    /// By the first bound that the time does not exceed; the last has no bound.
    times: [AtomicU64; BOUNDS + 1],
    microseconds: AtomicU64,
}

impl Route {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn record(&self, status: StatusCode, time: Duration) {
        let class = usize::from(status.as_u16() / 100 - 1).min(CLASSES.len() - 1);
        self.responses[class].fetch_add(1, Relaxed);
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(time, Relaxed);
        let doublings = u64::BITS - (time.saturating_sub(1) / FIRST).leading_zeros();
        self.times[(doublings as usize).min(BOUNDS)].fetch_add(1, Relaxed);
    }
}

/// The counts of all routes in one worker.
#[derive(Debug)]
pub(crate) struct Routes {
    /// The index in `all` of the route of a path.
    paths: Arc<Router<usize>>,
    /// The last one counts the paths of no route.
    all: Vec<Route>,
}

impl Routes {
    pub(crate) fn of(&self, path: &str) -> &Route {
        &self.all[self.paths.at(path).map_or(self.all.len() - 1, |found| *found.value)]
    }
}

/// The counts of all workers.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    names: Vec<&'static str>,
    paths: Arc<Router<usize>>,
    all: Arc<Mutex<Vec<Arc<Routes>>>>,
}

impl Workers {
    pub(super) fn new(routes: impl Iterator<Item = &'static str>) -> Self {
        let mut names: Vec<_> = routes.collect();
        let mut paths = Router::new();
        for (index, path) in names.iter().enumerate() {
            paths.insert(*path, index).expect("the server's router has the same paths");
        }
        names.push("other");
        Self { names, paths: Arc::new(paths), all: Arc::default() }
    }

    pub(super) fn add(&self) -> Arc<Routes> {
        let routes = self.names.iter().map(|name| Route { name, ..Route::default() });
        let routes = Routes { paths: Arc::clone(&self.paths), all: routes.collect() };
        let routes = Arc::new(routes);
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
        let help = "Responses by route and class of status";
        let mut counts =
            encoder.encode_descriptor("http_requests", help, None, MetricType::Counter)?;
        for (index, route) in self.names.iter().copied().enumerate() {
            for (class, status) in CLASSES.into_iter().enumerate() {
                let count = self.sum(|routes| &routes.all[index].responses[class]);
                let labels = [("route", route), ("status", status)];
                let mut family = counts.encode_family(&labels)?;
                family.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "Time to the response by route";
        let mut times =
            encoder.encode_descriptor("http_request_seconds", help, None, MetricType::Histogram)?;
        for (index, route) in self.names.iter().copied().enumerate() {
            let counts = (0..=BOUNDS).map(|at| self.sum(|routes| &routes.all[index].times[at]));
            let bounds = (0..BOUNDS).map(|at| (FIRST << at) as f64 / 1e6).chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(counts).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let seconds = self.sum(|routes| &routes.all[index].microseconds) as f64 / 1e6;
            let labels = [("route", route)];
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
        let routes = Workers::new(
            ["/users/token", "/v1/users", "/v1/users/me", "/v1/users/{id}"].into_iter(),
        )
        .add();
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
