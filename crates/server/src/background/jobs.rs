//! Purges what is due, and makes the words of names that have none yet, in small steps so that no
//! request waits long for the writer.

use std::sync::Arc;
use std::time::Duration;

use db::Tx;
use domain::{
    Cx, Time, audit, browser_tokens, idempotency, purge, throttle, unread, users, webhooks,
};

use super::runner::{Lease, Task};
use crate::config::Settings;
use crate::node::Node;

/// Rows that one step removes, or users whose words it makes, at most: a few milliseconds of the
/// writer's time.
const STEP: i64 = 200;

type Step = fn(&mut Tx<'_>, &Cx, &Settings) -> domain::Result<u64>;

const PURGED: &str = "purged what was due";
const INDEXED: &str = "made the words that users are found by";

/// What a step is about, what the log says of it, and the step.
const STEPS: [(&str, &str, Step); 11] = [
    ("names", INDEXED, |tx, _cx, _| users::index_names(tx, STEP)),
    ("trash", PURGED, |tx, cx, _| purge::trash(tx, cx, STEP)),
    ("tombstones", PURGED, |tx, cx, _| purge::tombstones(tx, cx, STEP)),
    ("erased mailboxes", PURGED, |tx, cx, _| purge::erased_mailboxes(tx, cx, STEP)),
    ("stored responses", PURGED, |tx, cx, _| idempotency::purge(tx, cx, STEP)),
    ("unread changes", PURGED, |tx, cx, _| unread::many::purge_changes(tx, cx, STEP)),
    ("reserved names", PURGED, |tx, cx, _| users::purge_reserved_names(tx, cx, STEP)),
    ("ended sessions of apps", PURGED, |tx, cx, _| browser_tokens::purge(tx, cx, STEP)),
    ("familiar addresses", PURGED, |tx, cx, _| throttle::purge_familiar_addresses(tx, cx, STEP)),
    ("webhook events", PURGED, |tx, cx, settings| {
        let kept = i64::from(settings.webhook_log_days) * Time::DAY;
        webhooks::purge(tx, cx, kept, STEP)
    }),
    ("audit log", PURGED, |tx, cx, settings| {
        audit::purge(tx, cx, i64::from(settings.audit_days) * Time::DAY, STEP)
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
        for (what, done, step) in STEPS {
            let mut rows = 0;
            // A step that fails must not keep the others from their turn.
            result = repeat(&self.0, step, &mut rows).await.and(result);
            if rows > 0 {
                tracing::info!(what, rows, "{done}");
            }
        }
        result
    }
}

/// Repeats a step until nothing is left or the node stops.
async fn repeat(node: &Arc<Node>, step: Step, done: &mut u64) -> domain::Result<()> {
    while !node.stopping.is_cancelled() {
        let (cx, shared) = (node.clock.cx(), Arc::clone(node));
        match node.db.write(move |tx| step(tx, &cx, &shared.settings)).await? {
            0 => break,
            rows => *done += rows,
        }
    }
    Ok(())
}
