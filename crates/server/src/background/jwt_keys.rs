//! Fetches the keys of the issuers of JWTs: at the start, before they are too old, and when a token
//! names one that is not known.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::runner::{Lease, Task};
use crate::node::Node;

pub(super) struct FetchJwtKeys(pub(super) Arc<Node>);

impl Task for FetchJwtKeys {
    const NAME: &'static str = "jwt_keys";
    const EVERY: Duration = Duration::from_secs(1);

    async fn woken(&mut self) {
        self.0.jwts.wanted.notified().await;
    }

    async fn run(&mut self, _lease: &mut Lease) -> domain::Result<()> {
        let (node, now) = (&self.0, self.0.clock.now());
        let due = node.jwts.issuers().iter().filter(|issuer| issuer.begins_fetch(now));
        let fetches = due.map(async |issuer| {
            let fetches = &node.metrics.jwt_key_fetches;
            let succeeded = issuer.fetch(node.jwts.guard(), now).await;
            if succeeded { &fetches.succeeded } else { &fetches.failed }.inc();
        });
        join_all(fetches).await;
        Ok(())
    }
}
