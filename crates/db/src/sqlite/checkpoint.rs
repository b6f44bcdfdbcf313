//! Copies the write-ahead log back into the file, on a thread that no write waits for.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::connection::{self, Role};
use super::reserve::free_bytes;
use super::shared::Shared;
use crate::{Error, Result, threads};

/// How long commits gather before they are copied back. The thread sleeps while nothing is written.
const GATHER: Duration = Duration::from_millis(100);

/// How long a restart of the log waits for short reads that have begun before it.
pub(super) const READS: Duration = Duration::from_millis(3);

/// Wakes the checkpointer; dropping it ends the thread.
pub(super) struct Wake {
    sender: SyncSender<()>,
    /// Nothing is sent on it: closing it cuts the checkpointer's pause short.
    _alive: SyncSender<()>,
}

impl Wake {
    pub(super) fn wake(&self) {
        // A full channel means that it is awake already.
        let _ = self.sender.try_send(());
    }
}

pub(super) fn start(shared: Arc<Shared>) -> Result<(Wake, JoinHandle<()>)> {
    let connection = connection::open(&shared.path, Role::Checkpointer)?;
    let (sender, woken) = sync_channel(1);
    let (alive, ended) = sync_channel::<()>(0);
    let thread = threads::spawn("db-checkpoint", move || {
        while shared.log.is_long() || woken.recv().is_ok() {
            if ended.recv_timeout(GATHER) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
            // The writer would have done it if something had been written meanwhile.
            if shared.log.is_long() {
                restart(&shared, &connection, READS);
            }
            let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get::<_, i64>(1)?, row.get(2)?))
            });
            match shared.watch(copied.map_err(Error::from)) {
                Ok((pages, copied)) => {
                    shared.log.measured(pages);
                    shared.log.copied(copied);
                }
                // More writes would only make the log longer.
                Err(Error::Full) => shared.reserve.give(),
                // A failure of the storage is reported where the process ends because of it.
                Err(Error::Busy | Error::Failed(_)) => {}
                Err(error) => tracing::warn!(%error, "the log could not be copied back"),
            }
            if shared.reserve.is_used() || shared.reserve.is_short() {
                shared.reserve.take_back(free_bytes(&connection));
            }
            if shared.reserve.is_used() || shared.reserve.is_short() {
                shared.reserve.take_back(free_bytes(&connection));
            }
        }
    })?;
    Ok((Wake { sender, _alive: alive }, thread))
}

/// Restarts the log, unless somebody reads from it for longer than that.
pub(super) fn restart(shared: &Shared, connection: &Connection, wait: Duration) {
    let restarted = connection
        .busy_timeout(wait)
        .and_then(|()| {
            connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(2)?))
            })
        })
        .map_err(Error::from);
    // Negative while another checkpoint is at it.
    if let Ok((_, copied @ 0..)) = restarted {
        shared.log.copied(copied);
    }
    let restored = connection.busy_timeout(connection::BUSY).map_err(Error::from);
    match shared.watch(restarted.and_then(|(busy, _)| restored.map(|()| busy))) {
        Ok(0) => shared.log.measured(0),
        Ok(_) | Err(Error::Busy | Error::Failed(_)) => shared.log.postpone(),
        Err(Error::Full) => {
            shared.log.postpone();
            shared.reserve.give();
        }
        Err(error) => tracing::warn!(%error, "the log could not be restarted"),
    }
}

/// Empties the log before the database is closed, unless readers still need it; the next start does
/// the rest.
pub(super) fn finish(connection: &Connection) {
    let emptied = connection
        .busy_timeout(GATHER)
        .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    if let Err(error) = emptied {
        tracing::warn!(%error, "the log could not be emptied at the end");
    }
}
