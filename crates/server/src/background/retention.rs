//! Removes messages that are older than the operator wants to keep any.

use std::sync::Arc;
use std::time::Duration;

use db::{Error::Full, Purpose, Tx};
use domain::retention::{self, Step};
use domain::{MessageId, Time, known_time};
use tokio::time::{Instant, sleep};

use super::runner::{Lease, Task};
use crate::node::Node;

/// Entries that one step removes, about: few mailboxes are locked, for some milliseconds.
const COPIES: usize = 32;
/// The same on a full disk, where a transaction has to be small.
const FEW_COPIES: usize = 1;
/// How many times as long as a step took the next one waits, so that what users do has four fifths
/// of the writer, or of the locks, also when a whole year is removed.
const REST: u32 = 4;
/// How long a run goes on, at most; the log then says how far it has come.
const LONGEST: Duration = Duration::from_mins(1);

pub(super) struct Retention(pub(super) Arc<Node>);

impl Task for Retention {
    const NAME: &'static str = "retention";
    /// Where nothing is due, that is a look at the oldest message.
    const EVERY: Duration = Duration::from_secs(10);

    async fn run(&mut self, lease: &mut Lease) -> domain::Result<()> {
        let Self(node) = self;
        let mut messages = 0;
        let result = remove_due(node, lease, &mut messages).await;
        if messages > 0 {
            let days = node.settings.retention_days;
            tracing::info!(messages, days, "removed messages that are older than retention_days");
        }
        result
    }
}

/// Removes what is due, step by step, until nothing is left, the time is over or the node stops.
async fn remove_due(node: &Arc<Node>, lease: &mut Lease, removed: &mut u64) -> domain::Result<()> {
    let kept = Time::DAY.saturating_mul(node.settings.retention_days.into());
    let cx = node.clock.cx();
    if !node.db.read(move |tx| retention::is_due(tx, &cx, kept)).await? {
        return Ok(());
    }
    let (started, mut after, mut copies) = (Instant::now(), None, COPIES);
    while !node.stopping.is_cancelled() && started.elapsed() < LONGEST && lease.take().await? {
        let (cx, from, began): (_, Option<MessageId>, _) = (node.clock.cx(), after, Instant::now());
        let remove = move |tx: &mut Tx<'_>| {
            if known_time::is_near(tx, &cx)? {
                retention::remove(tx, &cx, kept, from, copies)
            } else {
                Ok(None)
            }
        };
        match node.db.write_for(Purpose::Free, remove).await {
            Ok(None) => break,
            Ok(Some(Step { messages, last })) => {
                *removed += messages;
                node.metrics.messages_purged.inc_by(messages);
                after = Some(last);
            }
            Err(domain::Error::Db(Full)) if copies > FEW_COPIES => copies = FEW_COPIES,
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = node.stopping.cancelled() => break,
            () = sleep(REST * began.elapsed()) => {}
        }
    }
    Ok(())
}
