//! Writes to the audit log whose messages were read by a server key.

use std::sync::Arc;
use std::time::Duration;

use super::runner::{Lease, Task};
use crate::node::Node;

pub(super) struct WriteAudit(pub(super) Arc<Node>);

impl Task for WriteAudit {
    const NAME: &'static str = "audit";
    const EVERY: Duration = Duration::from_secs(1);

    async fn woken(&mut self) {
        self.0.actings.many.notified().await;
    }

    async fn run(&mut self, _lease: &mut Lease) -> domain::Result<()> {
        self.0.actings.write(&self.0.db).await
    }
}
