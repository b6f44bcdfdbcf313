//! What makes several nodes one server: they hear of each other's writes and go by one clock.

use std::sync::Arc;
use std::time::Duration;

use db::{Heard, Notice};
use mail::{Time, UserId, topics};
use tokio::time::{MissedTickBehavior, interval};

use super::webhooks::Bell;
use crate::node::Node;

/// How often the clock is set. Clocks drift by a second in some hours.
const EVERY: Duration = Duration::from_secs(10);
/// A clock that is wrong by more than this is somebody's mistake.
const TOLERATED: i64 = 2 * Time::SECOND;

/// Acts on what is committed here and on other nodes, from now on. The thread that committed does
/// it, so nothing here waits.
pub(crate) fn listen(node: &Node, webhooks: &Arc<Bell>) {
    // The database must not hold what holds the database.
    let (sessions, erased) = (Arc::clone(&node.sessions), Arc::clone(&node.erased));
    let (streams, webhooks) = (Arc::clone(&node.streams), Arc::clone(webhooks));
    node.db.listen(move |heard| match heard {
        Heard::Notice(Notice { topic: topics::MAILBOX, key }) => streams.moved(key),
        Heard::Notice(Notice { topic: topics::ACCESS, key }) => {
            if let Some(user) = UserId::new(key) {
                sessions.forget_all(user);
            }
            streams.doubted(key);
        }
        Heard::Notice(Notice { topic: topics::ERASED, .. }) => erased.notify_one(),
        Heard::Notice(Notice { topic: topics::WEBHOOKS, .. }) => webhooks.changed(),
        Heard::Notice(Notice { topic: topics::WEBHOOK_EVENTS, .. }) => webhooks.event(),
        // Of a topic that only a newer version knows.
        Heard::Notice(_) => {}
        Heard::Missed => {
            sessions.forget_everybody();
            erased.notify_one();
            streams.missed();
            webhooks.changed();
        }
    });
}

/// Keeps the clock with the database's, until the server stops.
pub(crate) async fn keep_time(node: Arc<Node>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    while !node.stopping.is_set() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = node.stopping.wait() => return,
        }
        // Where it cannot be asked, the clock goes on as it was.
        let Ok(ahead) = node.clock.follow(&node.db).await else { continue };
        let wrong = ahead.abs() > TOLERATED;
        if wrong && !told {
            let seconds = ahead / Time::SECOND;
            tracing::warn!(seconds, "this machine's clock is wrong; going by the database's");
        }
        told = wrong;
    }
}
