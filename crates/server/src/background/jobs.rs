//! Purges what is due, in small steps so that no request waits long for the writer.

use std::sync::Arc;
use std::time::Duration;

use db::Tx;
use domain::{Cx, Time, idempotency, purge, users, webhooks};

use super::runner::{Lease, Task};
use crate::config::Settings;
use crate::node::Node;

/// Rows that one step removes at most: a few milliseconds of the writer's time.
const STEP: i64 = 200;

type Step = fn(&mut Tx<'_>, &Cx, &Settings) -> domain::Result<u64>;

const STEPS: [(&str, Step); 6] = [
    ("trash", |tx, cx, _| purge::trash(tx, cx, STEP)),
    ("tombstones", |tx, cx, _| purge::tombstones(tx, cx, STEP)),
    ("erased mailboxes", |tx, _cx, _| purge::erased_mailboxes(tx, STEP)),
    ("stored responses", |tx, cx, _| idempotency::purge(tx, cx, STEP)),
    ("reserved names", |tx, cx, _| users::purge_reserved_names(tx, cx, STEP)),
    ("webhook events", |tx, cx, settings| {
        let kept = i64::from(settings.webhook_log_days) * Time::DAY;
        webhooks::purge(tx, cx, kept, STEP)
    }),
];

pub(super) struct Jobs(pub(super) Arc<Node>);

impl Task for Jobs {
    const NAME: &'static str = "jobs";
    const EVERY: Duration = Duration::from_mins(1);

    async fn woken(&mut self) {
        self.0.wakeups.erased.notified().await;
    }

    async fn run(&mut self, lease: &mut Lease) -> domain::Result<()> {
        if !lease.take().await? {
            return Ok(());
        }
        let mut result = Ok(());
        for (what, step) in STEPS {
            let mut purged = 0;
            // A step that fails must not keep the others from their turn.
            result = purge_all(&self.0, step, &mut purged).await.and(result);
            if purged > 0 {
                tracing::info!(what, purged, "purged what was due");
            }
        }
        result
    }
}

/// Repeats a step until nothing is left or the node stops.
async fn purge_all(node: &Arc<Node>, step: Step, purged: &mut u64) -> domain::Result<()> {
    while !node.stopping.is_cancelled() {
        let (cx, shared) = (node.clock.cx(), Arc::clone(node));
        match node.db.write(move |tx| step(tx, &cx, &shared.settings)).await? {
            0 => break,
            rows => *purged += rows,
        }
    }
    Ok(())
}
