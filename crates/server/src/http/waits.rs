//! Requests that wait for their turn wait no longer than their clients.
//!
//! A client that has closed its side still gets the response to what it has asked. While a request
//! waits behind others of its own user or address, that would keep the connections of clients that
//! are gone: so then, the end of the input is the end of the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static WAITS: Arc<AtomicBool>;
}

/// Serves a request; `waits` is true while it waits for its turn.
pub(crate) fn watched<F: Future>(
    waits: Arc<AtomicBool>,
    request: F,
) -> TaskLocalFuture<Arc<AtomicBool>, F> {
    WAITS.scope(waits, request)
}

/// Waits for the turn of a request. Where its client is gone, this never completes, and the request
/// is dropped.
pub(super) async fn wait<F: Future>(turn: F) -> F::Output {
    let _waiting = Waiting::begin();
    turn.await
}

struct Waiting;

impl Waiting {
    fn begin() -> Self {
        Self::set(true);
        Self
    }

    fn set(now: bool) {
        // A request that no connection serves is one of a test.
        let _ = WAITS.try_with(|waits| waits.store(now, Relaxed));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        Self::set(false);
    }
}
