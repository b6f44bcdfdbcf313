//! Measures the database for the metrics.

use std::sync::Arc;
use std::time::Duration;

use super::runner::{Lease, Task};
use crate::node::Node;

/// PostgreSQL looks at each of its files for it, so it is not done for each scrape.
pub(super) struct MeasureDatabase(pub(super) Arc<Node>);

impl Task for MeasureDatabase {
    const NAME: &'static str = "database_size";
    const EVERY: Duration = Duration::from_secs(30);

    async fn run(&mut self, _lease: &mut Lease) -> domain::Result<()> {
        let bytes = self.0.db.bytes().await?;
        self.0.metrics.db_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        Ok(())
    }
}
