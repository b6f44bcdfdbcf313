//! What the threads of one engine share.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};

use tokio::sync::watch;

use super::log::Log;
use super::reserve::Reserve;
use crate::{Error, Result, notice::Hub};

#[derive(Default)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    /// Writes that wait or run; counted up when one is queued, down when it is answered.
    pub(super) queued: AtomicUsize,
    /// Counted by the writer thread, as are the commits.
    pub(super) writes: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) log: Log,
    /// The first failure after which nothing may be acknowledged. Never taken back.
    failure: watch::Sender<Option<Error>>,
    pub(super) hub: Hub,
    pub(super) reserve: Reserve,
}

impl Shared {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), ..Self::default() }
    }

    /// Records a failure, unless there is one already.
    pub(super) fn fail(&self, error: &Error) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| error.clone());
            first
        });
    }

    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.borrow().clone()
    }

    /// Waits for a failure.
    pub(super) async fn failed(&self) -> Error {
        let mut failure = self.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        failed.ok().and_then(|error| error.clone()).unwrap_or(Error::Closed)
    }

    /// Returns a result, and records its error if that is fatal.
    pub(super) fn watch<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            if error.is_fatal() {
                self.fail(error);
            }
        })
    }
}
