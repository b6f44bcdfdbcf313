//! Withdraws system messages whose time is over from those who have never read them.

use std::sync::Arc;
use std::time::Duration;

use db::{Purpose, Tx};
use domain::{known_time, system_messages};

use super::runner::{Lease, Task};
use crate::node::Node;

/// Messages that one step withdraws, at most.
const STEP: i64 = 50;

pub(super) struct Expirations(pub(super) Arc<Node>);

impl Task for Expirations {
    const NAME: &'static str = "expirations";
    /// A look at an empty index costs microseconds.
    const EVERY: Duration = Duration::from_secs(1);

    async fn run(&mut self, lease: &mut Lease) -> domain::Result<()> {
        let Self(node) = self;
        while !node.stopping.is_cancelled() {
            let cx = node.clock.cx();
            let is_due = move |tx: &mut Tx<'_>| {
                Ok::<_, domain::Error>(
                    system_messages::has_expired(tx, &cx)? && known_time::is_near(tx, &cx)?,
                )
            };
            if !node.db.read(is_due).await? || !lease.take().await? {
                break;
            }
            let expire = move |tx: &mut Tx<'_>| system_messages::expire(tx, &cx, STEP);
            node.db.write_for(Purpose::Free, expire).await?;
        }
        Ok(())
    }
}
