//! Work that waits for nobody: what has to be gone after some time, a bounded step at a time, so
//! that no sender waits behind it.

use std::sync::Arc;
use std::time::Duration;

use db::Tx;
use mail::{Cx, Time, answers, changes, leases, mailbox, webhooks};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Settings;
use crate::node::Node;

/// How often it is looked for. What is late by it is only still on the disk.
const EVERY: Duration = Duration::from_mins(1);
/// Rows that one step removes, at most: a few milliseconds of the writer's time.
const STEP: i64 = 200;

/// Which of several nodes does it, and for how long it is believed to be there: it says so again
/// each time.
const LEASE: &str = "jobs";
const LEASED: i64 = 3 * Time::MINUTE;

type Step = fn(&mut Tx<'_>, &Cx, &Settings) -> mail::Result<u64>;

/// The trash after 30 days and what is known of what went, the mailboxes of erased users, answers
/// that were kept for retries, the log of webhooks.
const STEPS: [(&str, Step); 5] = [
    ("trash", |tx, cx, _| mailbox::empty_trash(tx, cx, STEP)),
    ("tombstones", |tx, cx, _| changes::forget(tx, cx, STEP)),
    ("erased mailboxes", |tx, _cx, _| mailbox::erase_some(tx, STEP)),
    ("kept answers", |tx, cx, _| answers::sweep(tx, cx, STEP)),
    ("webhook events", |tx, cx, settings| {
        let kept = i64::from(settings.webhook_log_days) * Time::DAY;
        webhooks::sweep(tx, cx, kept, STEP)
    }),
];

/// Runs until the server stops. Of several nodes one does it.
pub(crate) async fn run(node: Arc<Node>) {
    let me: [u8; 16] = node.clock.cx().random();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !node.stopping.is_set() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = node.erased.notified() => {}
            () = node.stopping.wait() => break,
        }
        let cx = node.clock.cx();
        let leased = node.db.write(move |tx| leases::take(tx, &cx, LEASE, &me, LEASED)).await;
        if let Ok(true) = leased {
            sweep(&node).await;
        }
    }
    // Another node need not wait until it is over; where that fails, it does.
    drop(node.db.write(move |tx| leases::release(tx, LEASE, &me)).await);
}

/// Does all that is to do now.
async fn sweep(node: &Arc<Node>) {
    for (what, step) in STEPS {
        let mut removed = 0;
        loop {
            let (cx, all) = (node.clock.cx(), Arc::clone(node));
            match node.db.write(move |tx| step(tx, &cx, &all.settings)).await {
                Ok(0) => break,
                Ok(some) => removed += some,
                // It is tried again at the next tick; the storage tells its failures itself.
                Err(error) => {
                    tracing::debug!(%error, what, "not removed yet");
                    break;
                }
            }
            if node.stopping.is_set() {
                return;
            }
        }
        if removed > 0 {
            tracing::info!(what, removed, "removed what was over");
        }
    }
}
