//! Runs background tasks: each at an interval and when it is woken, until the node stops.

use std::future::{pending, ready};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use db::{Purpose, Tx, panic_text};
use domain::leases;
use futures_util::FutureExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::node::Node;

/// How long a node that did not get a lease waits before it tries again.
const RETRY: Duration = Duration::from_secs(5);

/// A recurring duty of a node.
pub(super) trait Task: Send + 'static {
    /// The task's name in the log, in the metrics and in the table of leases.
    const NAME: &'static str;
    /// The time between two runs that nothing wakes earlier.
    const EVERY: Duration;
    /// How long the lease lasts: when a node is killed, another takes over after this time.
    const LEASE: Duration = Duration::from_mins(3);

    /// Ends when the task should run before its next tick. It must be safe to drop at any time.
    fn woken(&mut self) -> impl Future<Output = ()> + Send {
        pending()
    }

    /// Runs the task once. A task that only one node may run takes the lease first.
    ///
    /// # Errors
    /// Where something was not done; the next run tries again.
    fn run(&mut self, lease: &mut Lease) -> impl Future<Output = domain::Result<()>> + Send;

    /// Cleans up when the node stops, before the lease is released.
    fn stop(&mut self) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// Runs a task until the node stops. A run that fails or panics is counted; the task goes on.
pub(super) async fn run<T: Task>(node: Arc<Node>, mut task: T) {
    let mut lease = Lease::new(Arc::clone(&node), T::NAME, T::LEASE);
    let mut ticks = interval(T::EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = node.stopping.cancelled() => break,
            _ = ticks.tick() => {}
            () = task.woken() => {}
        }
        let begun = Instant::now();
        let result = match contain(T::NAME, task.run(&mut lease)).await {
            Some(Ok(())) => "ok",
            Some(Err(error)) => {
                // The database logs its own failures.
                tracing::debug!(task = T::NAME, %error, "a background task failed");
                "failed"
            }
            None => "panicked",
        };
        node.metrics.tasks.count(T::NAME, result, begun.elapsed());
    }
    contain(T::NAME, task.stop()).await;
    lease.release().await;
}

/// Runs a part of a task; `None` where it panics.
async fn contain<F: Future>(task: &str, part: F) -> Option<F::Output> {
    let result = AssertUnwindSafe(part).catch_unwind().await;
    let logged = result.inspect_err(|panic| {
        let panic = panic_text(&**panic);
        tracing::error!(task, panic, "a background task panicked");
    });
    logged.ok()
}

/// A right that one of several nodes has at a time, as this node knows it.
pub(super) struct Lease {
    node: Arc<Node>,
    name: &'static str,
    holder: [u8; 16],
    length: Duration,
    /// Whether this node has the lease, or may have it.
    held: bool,
    /// When the database confirmed `held`.
    checked: Option<Instant>,
}

impl Lease {
    fn new(node: Arc<Node>, name: &'static str, length: Duration) -> Self {
        // A file has one server: after a kill it must not wait for its own lease to end.
        let is_file = node.settings.database().is_ok_and(|url| url.path().is_some());
        let holder = if is_file { [0; 16] } else { node.clock.cx().random() };
        Self { node, name, holder, length, held: false, checked: None }
    }

    /// Takes the lease, or renews it when a third of its time is over. Returns whether this node
    /// has it.
    pub(super) async fn take(&mut self) -> domain::Result<bool> {
        let valid = if self.held { self.length / 3 } else { RETRY };
        if self.checked.is_some_and(|at| at.elapsed() < valid) {
            return Ok(self.held);
        }
        let had = self.checked.take().is_some() && self.held;
        let (cx, name, holder) = (self.node.clock.cx(), self.name, self.holder);
        let length = i64::try_from(self.length.as_micros()).unwrap_or(i64::MAX);
        // Where no answer comes, the lease may be this node's.
        self.held = true;
        // Without the lease nothing would be purged.
        let take = move |tx: &mut Tx<'_>| {
            let take = |tx: &mut Tx<'_>| leases::take(tx, &cx, name, &holder, length);
            let taken = take(tx)?;
            let ended = !taken && leases::end_impossible(tx, &cx, name, length)?;
            Ok::<_, domain::Error>((if ended { take(tx)? } else { taken }, ended))
        };
        let take = self.node.db.write_for(Purpose::Free, take);
        let ended;
        (self.held, ended) = take.await?;
        self.checked = Some(Instant::now());
        if ended {
            tracing::warn!(task = name, "ended the lease of a node whose clock was ahead");
        }
        if self.held && !had {
            tracing::info!(task = name, "this node has the lease");
        }
        Ok(self.held)
    }

    /// Lets another node take over at once. Where that fails, the lease ends by itself.
    pub(super) async fn release(&mut self) {
        self.checked = None;
        if std::mem::take(&mut self.held) {
            let (name, holder) = (self.name, self.holder);
            drop(self.node.db.write(move |tx| leases::release(tx, name, &holder)).await);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use domain::Time;

    use super::*;
    use crate::config::{Config, Sources};
    use crate::runtime::clock::Clock;

    /// A node with a new database in a folder.
    pub(in crate::background) async fn node(folder: &Path, clock: Clock) -> Arc<Node> {
        let data = folder.to_str().unwrap().to_owned();
        let flags = vec![("data_dir".to_owned(), data), ("workers".to_owned(), "1".to_owned())];
        let sources = Sources { folder: folder.into(), flags, ..Sources::default() };
        let settings = Config::load(&sources).unwrap().settings;
        Node::open(settings, clock, [].into_iter()).await.unwrap().0
    }

    /// Takes its lease and panics, then fails, then succeeds and stops the node.
    struct Unlucky {
        node: Arc<Node>,
        runs: u8,
    }

    impl Task for Unlucky {
        const NAME: &'static str = "unlucky";
        const EVERY: Duration = Duration::from_millis(1);

        async fn run(&mut self, lease: &mut Lease) -> domain::Result<()> {
            assert!(lease.take().await?);
            self.runs += 1;
            match self.runs {
                1 => panic!("the first run"),
                2 => return Err(db::Error::Busy.into()),
                _ => self.node.stopping.cancel(),
            }
            Ok(())
        }

        async fn stop(&mut self) {
            panic!("the end");
        }
    }

    #[tokio::test]
    async fn a_task_goes_on_after_a_panic_and_gives_its_lease_back() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path(), Clock::default()).await;

        run(Arc::clone(&node), Unlucky { node: Arc::clone(&node), runs: 0 }).await;

        let metrics = node.metrics.open_metrics(&node.db.stats(), 0);
        for result in ["ok", "failed", "panicked"] {
            let line = format!("task_runs_total{{task=\"unlucky\",result=\"{result}\"}} 1\n");
            assert!(metrics.contains(&line), "{line}{metrics}");
        }
        let cx = node.clock.cx();
        let taken = node.db.write(move |tx| leases::take(tx, &cx, "unlucky", &[1; 16], 1));
        assert!(taken.await.unwrap(), "another node can have it at once");
    }

    #[tokio::test]
    async fn a_lease_that_a_clock_ahead_took_is_taken_over_and_another_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::default();
        let node = node(folder.path(), clock.clone()).await;
        let length = Duration::from_mins(3);
        let minutes = 3 * Time::MINUTE;
        for (name, ahead, taken) in [("a", 0, false), ("b", 400 * Time::DAY, true)] {
            clock.advance(ahead);
            let cx = clock.cx();
            let other = node.db.write(move |tx| leases::take(tx, &cx, name, &[1; 16], minutes));
            assert!(other.await.unwrap());
            clock.advance(-ahead);
            let mut lease = Lease::new(Arc::clone(&node), name, length);
            assert_eq!(lease.take().await.unwrap(), taken, "{name}");
        }
    }
}
