//! Copies the log back into the file, out of every sender's way.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::Shared;
use super::connection::{self, Kind};
use crate::{Error, Result};

/// How long commits gather before they are copied back; nothing runs while nothing is written.
const GATHER: Duration = Duration::from_millis(100);

/// Tells the checkpointer that there is something to copy; dropping it ends the thread.
pub(super) struct Wake {
    sender: SyncSender<()>,
    // Never sent on: its end cuts the checkpointer's pause short.
    _alive: SyncSender<()>,
}

impl Wake {
    pub(super) fn wake(&self) {
        // Full means that it has been told already.
        let _ = self.sender.try_send(());
    }
}

pub(super) fn start(shared: Arc<Shared>) -> Result<(Wake, JoinHandle<()>)> {
    let connection = connection::open(&shared.path, Kind::Checkpointer)?;
    let (sender, woken) = sync_channel(1);
    let (alive, ended) = sync_channel::<()>(0);
    let thread = std::thread::Builder::new()
        .name("db-checkpoint".into())
        .spawn(move || {
            while woken.recv().is_ok() {
                if ended.recv_timeout(GATHER) == Err(RecvTimeoutError::Disconnected) {
                    break;
                }
                let copied = connection
                    .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1));
                match shared.watch(copied.map_err(Error::from)) {
                    Ok(pages) => shared.log_pages.store(pages, Relaxed),
                    // A failure of the storage is told by whoever ends the process for it.
                    Err(Error::Busy | Error::Failed(_)) => {}
                    Err(error) => tracing::warn!(%error, "the log could not be copied back"),
                }
            }
        })
        .map_err(|cause| Error::File(format!("cannot start a thread: {cause}")))?;
    Ok((Wake { sender, _alive: alive }, thread))
}

/// Empties the log at the end, as far as no reader is left; the next start does the rest.
pub(super) fn finish(connection: &Connection) {
    let emptied = connection
        .busy_timeout(GATHER)
        .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    if let Err(error) = emptied {
        tracing::warn!(%error, "the log could not be emptied at the end");
    }
}
