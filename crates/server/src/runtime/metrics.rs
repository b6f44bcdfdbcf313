//! The metrics of the server.

mod process;
mod routes;
mod tasks;

use std::collections::HashSet;
use std::sync::Arc;

use domain::webhooks::Outcome;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Metric, Registry};

pub(crate) use routes::Routes;
use routes::Workers;
use tasks::Tasks;

const PREFIX: &str = "postroom";

/// Declares a struct with one counter for each value of the label `result`.
macro_rules! by_result {
    ($type:ident, $name:literal, $help:literal, $($result:ident),+) => {
        pub(crate) struct $type {
            $(pub $result: Counter),+
        }

        impl $type {
            fn register(registry: &mut Registry) -> Self {
                let family = Family::<[(&str, &str); 1], Counter>::default();
                registry.register($name, $help, family.clone());
                let counter = |result| family.get_or_create_owned(&[("result", result)]);
                Self { $($result: counter(stringify!($result))),+ }
            }
        }
    };
}

by_result!(Logins, "logins", "Logins by result", accepted, refused, throttled);
by_result!(Webhooks, "webhook_attempts", "Attempts to deliver events by result", delivered, failed);
by_result!(KeyFetches, "jwt_key_fetches", "Fetches of JWT keys by result", succeeded, failed);
by_result!(Backups, "backups", "Backups by result", made, failed);
by_result!(Mails, "mails", "E-mails by result", sent, put_off, refused, in_doubt);

impl Webhooks {
    pub(crate) fn count(&self, outcome: Outcome) {
        if outcome == Outcome::Delivered { &self.delivered } else { &self.failed }.inc();
    }
}

/// All metrics, except those of the database, which keeps its own.
pub(crate) struct Metrics {
    workers: Workers,
    pub logins: Logins,
    pub webhooks: Webhooks,
    pub mails: Mails,
    pub jwt_key_fetches: KeyFetches,
    pub backups: Backups,
    /// When the newest backup was made, in seconds since 1970.
    pub backup_last: Gauge,
    /// The time between two, in seconds.
    pub backup_every: Gauge,
    pub tasks: Tasks,
    pub connections: Gauge,
    pub connections_refused: Counter,
    pub bodies_refused: Counter,
    pub refusals_delayed: Counter,
    pub writers_delayed: Counter,
    pub stream_events: Counter,
    pub messages_purged: Counter,
    /// Set by a background task.
    pub db_bytes: Gauge,
    registry: Registry,
}

fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// Metrics of these routes, and of the server as a whole.
    pub(crate) fn new(routes: impl Iterator<Item = &'static str>) -> Self {
        let (mut registry, workers) = (Registry::with_prefix(PREFIX), Workers::new(routes));
        registry.register_collector(Box::new(workers.clone()));
        let build = Family::<[(&str, &str); 2], Gauge>::default();
        registry.register("build_info", "Which Postroom this is; always 1", build.clone());
        let labels =
            [("version", env!("CARGO_PKG_VERSION")), ("architecture", std::env::consts::ARCH)];
        build.get_or_create_owned(&labels).set(1);
        Self {
            workers,
            logins: Logins::register(&mut registry),
            webhooks: Webhooks::register(&mut registry),
            mails: Mails::register(&mut registry),
            jwt_key_fetches: KeyFetches::register(&mut registry),
            backups: Backups::register(&mut registry),
            backup_last: registered(
                &mut registry,
                "backup_last_seconds",
                "When the newest backup was made, in seconds since 1970",
            ),
            backup_every: registered(
                &mut registry,
                "backup_every_seconds",
                "The time between two backups; 0 where the server makes none",
            ),
            tasks: Tasks::register(&mut registry),
            connections: registered(&mut registry, "connections", "Open connections"),
            connections_refused: registered(
                &mut registry,
                "connections_refused",
                "Connections refused because their address had its share",
            ),
            bodies_refused: registered(
                &mut registry,
                "bodies_refused",
                "Requests refused because too much of bodies was in memory",
            ),
            refusals_delayed: registered(
                &mut registry,
                "refusals_delayed",
                "Refusals held back because their user or address had many",
            ),
            writers_delayed: registered(
                &mut registry,
                "writers_delayed",
                "Responses held back because their user had written to very many mailboxes",
            ),
            stream_events: registered(&mut registry, "stream_events", "Events sent on streams"),
            messages_purged: registered(
                &mut registry,
                "messages_purged",
                "Messages that were older than retention_days and left all mailboxes",
            ),
            db_bytes: registered(&mut registry, "db_bytes", "Size of the database"),
            registry,
        }
    }

    /// The metrics of one more worker thread, which counts its responses there.
    pub(crate) fn worker(&self) -> Arc<Routes> {
        self.workers.add()
    }

    pub(crate) fn open_metrics(&self, stats: &db::Stats, streams: usize) -> String {
        let mut current = Registry::with_prefix(PREFIX);
        let log_bytes = i64::try_from(stats.log_bytes).unwrap_or(i64::MAX);
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("streams", "Open event streams", gauge(streams)),
            ("db_queued", "Work that waits for the database or runs there", gauge(stats.queued)),
            ("db_full", "Whether only what frees space is stored", i64::from(stats.full)),
            ("db_log_bytes", "Size of the embedded database's write-ahead log", log_bytes),
            ("db_connections", "Open connections to PostgreSQL", gauge(stats.connections)),
            ("db_waiting_commits", "Refused commits that wait for a standby", gauge(stats.waiting)),
        ] {
            current.register(name, help, ConstGauge::new(value));
        }
        for (name, help, value) in [
            ("db_writes", "Committed writes", stats.writes),
            ("db_commits", "Commits that contained them", stats.commits),
            ("db_retries", "Work run again after a conflict or a lost connection", stats.retries),
            ("db_servers_left", "Times that all connections were given up at once", stats.left),
        ] {
            current.register(name, help, ConstCounter::new(value));
        }
        let mut process = Registry::default();
        process::register(&mut process);
        let mut text = String::new();
        let encoded = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &current))
            .and_then(|()| encode_registry(&mut text, &process))
            .and_then(|()| encode_eof(&mut text));
        encoded.expect("writing to a string succeeds");
        text
    }
}

/// Converts `OpenMetrics`, the only format of prometheus-client, to the older text format of
/// Prometheus: there `# HELP` and `# TYPE` name a counter with `_total`, and no `# EOF` follows.
pub(crate) fn prometheus_text(open_metrics: &str) -> String {
    let types = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<_> = types.filter_map(|kind| kind.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let rest = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        let name = rest.and_then(|rest| rest.split(' ').next());
        match name.filter(|name| counters.contains(name)) {
            Some(name) => text.push_str(&line.replacen(name, &format!("{name}_total"), 1)),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_calls_a_counter_by_its_sample() {
        let open = "# HELP a_b Bees.\n# TYPE a_b counter\na_b_total{x=\"# TYPE c counter\"} 1\n\
             # HELP c Cats.\n# TYPE c gauge\nc 2\n# EOF\n";
        let text = "# HELP a_b_total Bees.\n# TYPE a_b_total counter\n\
             a_b_total{x=\"# TYPE c counter\"} 1\n# HELP c Cats.\n# TYPE c gauge\nc 2\n";
        assert_eq!(prometheus_text(open), text);
    }
}
