//! The metrics of background tasks.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Runs of background tasks and the time that they took.
pub(crate) struct Tasks {
    runs: Family<[(&'static str, &'static str); 2], Counter>,
    seconds: Family<[(&'static str, &'static str); 1], Counter<f64, AtomicU64>>,
}

impl Tasks {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (runs, seconds) = (Family::default(), Family::default());
        registry.register("task_runs", "Runs of background tasks by result", Family::clone(&runs));
        let help = "Time that background tasks ran, in seconds";
        registry.register("task_seconds", help, Family::clone(&seconds));
        Self { runs, seconds }
    }

    /// Counts a run that ended `ok`, `failed` or `panicked`.
    pub(crate) fn count(&self, task: &'static str, result: &'static str, took: Duration) {
        self.runs.get_or_create_owned(&[("task", task), ("result", result)]).inc();
        self.seconds.get_or_create_owned(&[("task", task)]).inc_by(took.as_secs_f64());
    }
}
