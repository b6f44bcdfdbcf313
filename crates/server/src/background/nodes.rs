//! What makes several nodes one server: they act on each other's writes and use one clock.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use db::{Heard, Notice};
use domain::{Time, UserId, notices};

use super::runner::{Lease, Task};
use crate::node::Node;

/// A clock that is off by more than this is an operator's mistake.
const TOLERATED: i64 = 2 * Time::SECOND;

/// Acts on what is committed on this node and others, from now on. The committing thread does it,
/// so nothing here waits.
pub(crate) fn listen(node: &Node) {
    // The node owns the database, which owns this closure: it must not own the node.
    let (sessions, streams) = (Arc::clone(&node.sessions), Arc::clone(&node.streams));
    let (server_keys, actings) = (Arc::clone(&node.server_keys), Arc::clone(&node.actings));
    let wakeups = Arc::clone(&node.wakeups);
    let endpoints_changed = move || {
        wakeups.endpoints_changed.store(true, Relaxed);
        wakeups.webhooks.notify_one();
    };
    let wakeups = Arc::clone(&node.wakeups);
    node.db.listen(move |heard| match heard {
        Heard::Notice(Notice { topic: notices::MAILBOX, key }) => streams.changed(key),
        Heard::Notice(Notice { topic: notices::ACCESS, key }) => {
            if let Some(user) = UserId::new(key) {
                sessions.forget_all(user);
                actings.forget(user);
            }
            streams.check_logins(key);
        }
        Heard::Notice(Notice { topic: notices::ERASED, .. }) => wakeups.erased.notify_one(),
        Heard::Notice(Notice { topic: notices::WEBHOOKS, .. }) => endpoints_changed(),
        Heard::Notice(Notice { topic: notices::WEBHOOK_EVENTS, .. }) => {
            wakeups.webhooks.notify_one();
        }
        Heard::Notice(Notice { topic: notices::SERVER_KEYS, .. }) => server_keys.forget_all(),
        // A topic that only a newer version knows.
        Heard::Notice(_) => {}
        Heard::Missed => {
            sessions.forget_everybody();
            server_keys.forget_all();
            actings.forget_everybody();
            wakeups.erased.notify_one();
            streams.missed.notify_one();
            endpoints_changed();
        }
    });
}

/// Sets the node's clock by the database's. Clocks drift by a second in some hours.
pub(super) struct FollowClock {
    pub(super) node: Arc<Node>,
    /// Whether the warning was logged since the clock was last right.
    pub(super) warned: bool,
}

impl Task for FollowClock {
    const NAME: &'static str = "clock";
    const EVERY: Duration = Duration::from_secs(10);

    async fn run(&mut self, _lease: &mut Lease) -> domain::Result<()> {
        let ahead = self.node.clock.follow(&self.node.db).await?;
        let wrong = ahead.abs() > TOLERATED;
        if wrong && !self.warned {
            let seconds = ahead / Time::SECOND;
            tracing::warn!(seconds, "this machine's clock is wrong; going by the database's");
        }
        self.warned = wrong;
        Ok(())
    }
}
