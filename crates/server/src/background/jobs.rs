//! Purges what is due, and makes the words of names that have none yet, in small steps so that no
//! request waits long for the writer.

use std::sync::Arc;
use std::time::Duration;

use db::{Purpose, Tx};
use domain::{
    Cx, Time, audit, browser_tokens, idempotency, known_time, purge, throttle, unread, users,
    webhooks, wrong_dates,
};
use tokio::time::Instant;

use super::runner::{Lease, Task};
use crate::config::Settings;
use crate::node::Node;

/// Rows that one step removes, or users whose words it makes, at most: a few milliseconds of the
/// writer's time.
const STEP: i64 = 200;
/// The same on a full disk, where a transaction has to be small.
const SMALL_STEP: i64 = 10;

type Step = fn(&mut Tx<'_>, &Cx, &Settings, i64) -> domain::Result<u64>;

const PURGED: &str = "purged what was due";
const INDEXED: &str = "made the words that users are found by";

const CORRECTED: &str = "a clock was ahead: set dates in the future to now";

/// The steps that no clock decides on.
const TIMELESS: [&str; 2] = ["names", "erased mailboxes"];

/// What a step is about, what the log says of it, and the step.
const STEPS: [(&str, &str, Step); 12] = [
    ("names", INDEXED, |tx, _cx, _, limit| users::index_names(tx, limit)),
    ("dates", CORRECTED, |tx, cx, _, limit| wrong_dates::correct(tx, cx, limit)),
    ("trash", PURGED, |tx, cx, _, limit| purge::trash(tx, cx, limit)),
    ("tombstones", PURGED, |tx, cx, _, limit| purge::tombstones(tx, cx, limit)),
    ("erased mailboxes", PURGED, |tx, cx, _, limit| purge::erased_mailboxes(tx, cx, limit)),
    ("stored responses", PURGED, |tx, cx, _, limit| idempotency::purge(tx, cx, limit)),
    ("unread changes", PURGED, |tx, cx, _, limit| unread::many::purge_changes(tx, cx, limit)),
    ("reserved names", PURGED, |tx, cx, _, limit| users::purge_reserved_names(tx, cx, limit)),
    ("ended sessions of apps", PURGED, |tx, cx, _, limit| browser_tokens::purge(tx, cx, limit)),
    ("familiar addresses", PURGED, |tx, cx, _, limit| {
        throttle::purge_familiar_addresses(tx, cx, limit)
    }),
    ("webhook events", PURGED, |tx, cx, settings, limit| {
        let kept = i64::from(settings.webhook_log_days) * Time::DAY;
        webhooks::purge(tx, cx, kept, limit)
    }),
    ("audit log", PURGED, |tx, cx, settings, limit| {
        audit::purge(tx, cx, i64::from(settings.audit_days) * Time::DAY, limit)
    }),
];

pub(super) struct Jobs {
    node: Arc<Node>,
    /// Since when the clock is too far from the known time to be believed, by one that nobody sets.
    far_since: Option<Instant>,
}

impl Jobs {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node, far_since: None }
    }

    /// Notes the time, and says once where it is not believed.
    async fn follow_clock(&mut self) -> domain::Result<()> {
        let (cx, since) = (self.node.clock.cx(), self.far_since);
        let lasted = since.map_or(Duration::ZERO, |since| since.elapsed());
        let lasted = i64::try_from(lasted.as_micros()).unwrap_or(i64::MAX);
        let ahead = self.node.db.write(move |tx| known_time::follow(tx, &cx, lasted)).await?;
        match (ahead, since) {
            (Some(ahead), None) => {
                self.far_since = Some(Instant::now());
                let days = ahead / Time::DAY;
                tracing::warn!(
                    days,
                    "the clock is so many days ahead of the last time that the database knows \
                     (behind it, if negative): nothing is purged. If the clock is right, run \
                     `postroom clock accept`; otherwise it is believed after 24 hours"
                );
            }
            (None, Some(_)) => {
                self.far_since = None;
                tracing::info!("the clock is believed again: what is due is purged");
            }
            _ => {}
        }
        Ok(())
    }
}

impl Task for Jobs {
    const NAME: &'static str = "jobs";
    const EVERY: Duration = Duration::from_mins(1);

    async fn woken(&mut self) {
        self.node.wakeups.erased.notified().await;
    }

    async fn run(&mut self, lease: &mut Lease) -> domain::Result<()> {
        if !lease.take().await? {
            // It is another node's to say how long the clock has been wrong.
            self.far_since = None;
            return Ok(());
        }
        let mut result = self.follow_clock().await;
        for (what, done, step) in STEPS {
            let mut rows = 0;
            let is_timeless = TIMELESS.contains(&what);
            // A step that fails must not keep the others from their turn.
            let purpose = if done == PURGED { Purpose::Free } else { Purpose::Store };
            let run = repeat(&self.node, purpose, step, is_timeless, &mut rows);
            result = run.await.and(result);
            if rows > 0 {
                tracing::info!(what, rows, "{done}");
            }
        }
        result
    }
}

/// Repeats a step until nothing is left or the node stops.
async fn repeat(
    node: &Arc<Node>,
    purpose: Purpose,
    step: Step,
    is_timeless: bool,
    done: &mut u64,
) -> domain::Result<()> {
    let mut limit = STEP;
    while !node.stopping.is_cancelled() {
        let (cx, shared) = (node.clock.cx(), Arc::clone(node));
        let run = move |tx: &mut Tx<'_>| {
            if is_timeless || known_time::is_near(tx, &cx)? {
                step(tx, &cx, &shared.settings, limit)
            } else {
                Ok(0)
            }
        };
        match node.db.write_for(purpose, run).await {
            Ok(0) => break,
            Ok(rows) => *done += rows,
            Err(domain::Error::Db(db::Error::Full)) if limit > SMALL_STEP => limit = SMALL_STEP,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::runner::tests::node;
    use super::*;
    use crate::runtime::clock::Clock;

    #[tokio::test]
    async fn a_clock_that_jumps_is_believed_after_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::default();
        let node = node(folder.path(), clock.clone()).await;
        let mut jobs = Jobs::new(Arc::clone(&node));
        jobs.follow_clock().await.unwrap();
        assert_eq!(jobs.far_since, None);

        clock.advance(10 * Time::DAY);
        jobs.follow_clock().await.unwrap();
        let since = jobs.far_since.expect("it is not believed");
        jobs.follow_clock().await.unwrap();
        assert_eq!(jobs.far_since, Some(since), "it goes on");
        let cx = clock.cx();
        assert!(!node.db.read(move |tx| known_time::is_near(tx, &cx)).await.unwrap());
        jobs.far_since = since.checked_sub(Duration::from_hours(24));
        jobs.follow_clock().await.unwrap();
        assert_eq!(jobs.far_since, None);
        assert!(node.db.read(move |tx| known_time::is_near(tx, &cx)).await.unwrap());
    }
}
