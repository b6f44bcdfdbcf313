//! Purges what is due, and makes the words of names that have none yet, in small steps so that no
//! request waits long for the writer.

use std::sync::Arc;
use std::time::Duration;

use db::{Purpose, Tx};
use domain::{
    Cx, Time, audit, browser_tokens, idempotency, purge, throttle, unread, users, webhooks,
};

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

/// What a step is about, what the log says of it, and the step.
const STEPS: [(&str, &str, Step); 11] = [
    ("names", INDEXED, |tx, _cx, _, limit| users::index_names(tx, limit)),
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
            let purpose = if done == PURGED { Purpose::Free } else { Purpose::Store };
            result = repeat(&self.0, purpose, step, &mut rows).await.and(result);
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
    done: &mut u64,
) -> domain::Result<()> {
    let mut limit = STEP;
    while !node.stopping.is_cancelled() {
        let (cx, shared) = (node.clock.cx(), Arc::clone(node));
        let run = move |tx: &mut Tx<'_>| step(tx, &cx, &shared.settings, limit);
        match node.db.write_for(purpose, run).await {
            Ok(0) => break,
            Ok(rows) => *done += rows,
            Err(domain::Error::Db(db::Error::Full)) if limit > SMALL_STEP => limit = SMALL_STEP,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
